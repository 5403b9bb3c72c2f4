//! A hub of one repository on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::checkpoint::{ConvertOptions, Folder, convert};
use crate::quant::Format;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secret";

#[derive(Debug, Clone, Default)]
struct Request {
    path: String,
    range: Option<(usize, Option<usize>)>,
    authorization: Option<String>,
}

/// Serves the files of a folder as `owner/model`, and notes what it was asked for.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Copy, Default)]
struct Behaviour {
    /// Answers 401 where the token is not sent.
    private: bool,
    /// Cuts the first transfer of weights in the middle.
    cuts: bool,
}

impl Server {
    fn start(root: PathBuf, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::<Request>::new()));
        let log = seen.clone();
        let mut cuts = behaviour.cuts;
        // The thread ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read_request(&stream) else { continue };
                log.lock().unwrap().push(request.clone());
                let whole = request.range != Some((0, Some(0)));
                let cut = whole && request.path.ends_with(".safetensors") && cuts;
                cuts &= !cut;
                answer(stream, &root, &request, behaviour.private, cut);
            }
        });
        Self { address, seen }
    }

    fn hub(&self, home: &Path, token: Option<&str>) -> Hub {
        let endpoint = Some(self.address.clone());
        Hub { endpoint, token: token.map(str::to_owned), home: home.to_path_buf() }
    }

    fn seen(&self) -> Vec<Request> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let mut request =
        Request { path: lines.next()?.ok()?.split(' ').nth(1)?.into(), ..Request::default() };
    for line in lines.map_while(|line| line.ok().filter(|line| !line.is_empty())) {
        let (name, value) = line.split_once(": ")?;
        if name.eq_ignore_ascii_case("authorization") {
            request.authorization = Some(value.into());
        } else if name.eq_ignore_ascii_case("range") {
            let (start, end) = value.strip_prefix("bytes=")?.split_once('-')?;
            request.range = Some((start.parse().ok()?, end.parse().ok()));
        }
    }
    Some(request)
}

fn answer(mut stream: TcpStream, root: &Path, request: &Request, private: bool, cut: bool) {
    let refused = private && request.authorization.as_deref() != Some(&format!("Bearer {TOKEN}"));
    let path = request.path.split('?').next().unwrap();
    let file = path.strip_prefix(&format!("/owner/model/resolve/{COMMIT}/"));
    let body = match file {
        _ if refused => Err("401 Unauthorized"),
        None if path == "/api/models/owner/model/revision/main" => Ok(listing(root)),
        Some(file) => std::fs::read(root.join(file)).map_err(|_| "404 Not Found"),
        None => Err("404 Not Found"),
    };
    let mut send = |status: &str, headers: String, body: &[u8], length: usize| {
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        // The client may have gone away: the test sees it there.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    };
    match (body, request.range) {
        (Err(status), _) => send(status, String::new(), b"", 0),
        (Ok(body), None) => send("200 OK", String::new(), &body, body.len()),
        (Ok(body), Some((start, end))) => {
            let end = end.map_or(body.len(), |end| end + 1);
            let part = &body[start..end];
            let etag = file.unwrap().replace('/', "-");
            let headers = format!(
                "ETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {start}-{}/{}\r\n",
                end - 1,
                body.len()
            );
            let sent = if cut { &part[..part.len() / 2] } else { part };
            send("206 Partial Content", headers, sent, part.len());
        }
    }
}

fn listing(root: &Path) -> Vec<u8> {
    let mut names = vec!["README.md".to_owned(), "pytorch_model.bin".into()];
    for folder in ["", "qformer_tokenizer/"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap().flatten() {
            if entry.path().is_file() {
                names.push(format!("{folder}{}", entry.file_name().to_str().unwrap()));
            }
        }
    }
    let size = |name: &str| std::fs::metadata(root.join(name)).map_or(1, |m| m.len());
    let siblings: Vec<_> = names
        .iter()
        .map(|name| serde_json::json!({ "rfilename": name, "size": size(name) }))
        .collect();
    serde_json::to_vec(&serde_json::json!({ "sha": COMMIT, "siblings": siblings })).unwrap()
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/random/model")
}

#[test]
fn a_repository_converts_as_its_folder_does() {
    let t = tempfile::tempdir().unwrap();
    let server = Server::start(fixture(), Behaviour { cuts: true, ..Behaviour::default() });
    let mut reports = Vec::new();
    let fetched = server
        .hub(t.path(), Some(TOKEN))
        .fetch("owner/model", "main", &mut |done, total| reports.push((done, total)))
        .unwrap();
    let (done, total) = *reports.last().unwrap();
    assert_eq!(done, total);
    assert!(reports.iter().all(|(done, of)| done <= of));

    let seen = server.seen();
    assert!(seen.iter().all(|r| r.authorization.as_deref() == Some("Bearer hf_secret")));
    assert!(!seen.iter().any(|r| r.path.ends_with(".md") || r.path.ends_with(".bin")));
    // The transfer that was cut continued at its byte.
    assert!(
        seen.iter().any(
            |r| r.path.ends_with(".safetensors") && r.range.is_some_and(|(start, _)| start > 0)
        )
    );

    let set = |source: &Path, name: &str| {
        let options = ConvertOptions::new(Format::Q4);
        convert(source, &t.path().join(name), &options, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        let folder = Folder::open(t.path().join(name)).unwrap();
        let tokenizer = folder.read("qformer_tokenizer/tokenizer.json").unwrap();
        (folder.index().unwrap().clone(), tokenizer)
    };
    assert_eq!(set(&fetched, "from-hub"), set(&fixture(), "from-folder"));

    // The second time only the list of files is asked for.
    server.hub(t.path(), None).fetch("owner/model", "main", &mut |_, _| ()).unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].authorization, None);
}

#[test]
fn refusals_say_what_to_do() {
    let t = tempfile::tempdir().unwrap();
    let fetch = |private, token, name: &str, revision: &str| {
        let server = Server::start(fixture(), Behaviour { private, ..Behaviour::default() });
        let error = server.hub(t.path(), token).fetch(name, revision, &mut |_, _| ()).unwrap_err();
        assert_eq!(error.code(), "network");
        error.to_string()
    };
    let said = fetch(true, None, "owner/model", "main");
    assert!(said.contains("401") && said.contains("set HF_TOKEN"), "{said}");
    let said = fetch(true, Some("wrong"), "owner/model", "main");
    assert!(said.contains("the token in HF_TOKEN"), "{said}");
    let said = fetch(false, None, "owner/model", "v9");
    assert!(said.contains("404") && said.contains("no revision v9"), "{said}");
    let said = fetch(false, None, "owner/other", "main");
    assert!(said.contains("no repository owner/other"), "{said}");
    let nobody =
        Hub { endpoint: Some("http://127.0.0.1:1".into()), token: None, home: t.path().into() };
    assert_eq!(nobody.fetch("owner/model", "main", &mut |_, _| ()).unwrap_err().code(), "network");
}

#[test]
fn names_of_repositories() {
    for name in ["Salesforce/instructblip-flan-t5-xl", "a/b", "a_b/c.d"] {
        assert!(is_repository(name), "{name}");
    }
    for name in ["model", "a/b/c", "/a", "a/", "./model", "../model", "a/..", "a/b c", "-a/b"] {
        assert!(!is_repository(name), "{name}");
    }
}
