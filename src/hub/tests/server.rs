//! A hub of one repository on this machine, and whatever a test makes of its answers.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::super::Hub;
use crate::checkpoint::index::hex;

pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(super) const TOKEN: &str = "hf_secret";

#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) path: String,
    /// First byte of the range asked for.
    pub(super) start: Option<usize>,
    pub(super) authorization: Option<String>,
}

impl Request {
    pub(super) fn is_listing(&self) -> bool {
        self.path.starts_with("/api/")
    }

    pub(super) fn is_for(&self, name: &str) -> bool {
        self.path.ends_with(&format!("/{name}"))
    }
}

/// An answer; `length` is what the header says.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) length: Option<usize>,
    /// How long the connection stays open, silent, after the body.
    pub(super) hang: std::time::Duration,
}

impl Reply {
    pub(super) fn new(status: &'static str, body: Vec<u8>) -> Self {
        let length = Some(body.len());
        Self { status, headers: Vec::new(), body, length, hang: std::time::Duration::ZERO }
    }

    /// With the headers that the hub sends along.
    pub(super) fn redirect(location: impl Into<String>) -> Self {
        let reply = Self::new("302 Found", Vec::new()).with("Location", location);
        reply.with("X-Linked-ETag", "\"etag\"").with("X-Repo-Commit", COMMIT)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn send(&self, mut stream: TcpStream) {
        let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", self.status);
        if let Some(length) = self.length {
            head += &format!("Content-Length: {length}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        // The client may have gone away: the test sees it there.
        let _ = stream.write_all((head + "\r\n").as_bytes());
        let _ = stream.write_all(&self.body);
        std::thread::sleep(self.hang);
    }
}

/// Answers requests, and notes them.
pub(super) struct Server {
    pub(super) address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(super) fn start(mut answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::<Request>::new()));
        let log = seen.clone();
        // The thread ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read_request(&stream) else { continue };
                log.lock().unwrap().push(request.clone());
                answer(&request).send(stream);
            }
        });
        Self { address, seen }
    }

    pub(super) fn hub(&self, home: &Path, token: Option<&str>) -> Hub {
        let endpoint = Some(self.address.clone());
        Hub { endpoint, token: token.map(str::to_owned), home: home.to_path_buf() }
    }

    pub(super) fn seen(&self) -> Vec<Request> {
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
            request.start = value.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok();
        }
    }
    Some(request)
}

/// The repository `owner/model`, as the hub serves it.
#[derive(Clone)]
pub(super) struct Repository(pub(super) PathBuf);

impl Repository {
    pub(super) fn answer(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap();
        if path == "/api/models/owner/model/revision/main" {
            return Reply::new("200 OK", serde_json::to_vec(&self.listing()).unwrap());
        }
        let file = path.strip_prefix(&format!("/owner/model/resolve/{COMMIT}/"));
        let Some(body) = file.and_then(|file| std::fs::read(self.0.join(file)).ok()) else {
            return Reply::new("404 Not Found", Vec::new());
        };
        let length = body.len();
        let reply = match request.start {
            None => Reply::new("200 OK", body),
            Some(start) if start >= length => Reply::new("416 Range Not Satisfiable", Vec::new()),
            Some(start) => {
                let range = format!("bytes {start}-{}/{length}", length - 1);
                Reply::new("206 Partial Content", body[start..].to_vec())
                    .with("Content-Range", range)
            }
        };
        reply.with("ETag", "\"etag\"").with("X-Repo-Commit", COMMIT)
    }

    pub(super) fn listing(&self) -> serde_json::Value {
        let mut names = vec!["notes.md".to_owned(), "pytorch_model.bin".into()];
        for folder in ["", "qformer_tokenizer/"] {
            for entry in std::fs::read_dir(self.0.join(folder)).unwrap().flatten() {
                if entry.path().is_file() {
                    names.push(format!("{folder}{}", entry.file_name().to_str().unwrap()));
                }
            }
        }
        let siblings: Vec<_> = names.iter().map(|name| self.sibling(name)).collect();
        serde_json::json!({ "sha": COMMIT, "siblings": siblings })
    }

    fn sibling(&self, name: &str) -> serde_json::Value {
        let bytes = std::fs::read(self.0.join(name)).unwrap_or_else(|_| vec![0]);
        let (size, id) = (bytes.len(), git_id(&bytes));
        if !name.ends_with(".safetensors") {
            return serde_json::json!({ "rfilename": name, "size": size, "blobId": id });
        }
        let lfs = serde_json::json!({ "sha256": sha256(&bytes), "size": size, "pointerSize": 134 });
        let pointer = git_id(b"version https://git-lfs.github.com/spec/v1");
        serde_json::json!({ "rfilename": name, "size": size, "blobId": pointer, "lfs": lfs })
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn git_id(bytes: &[u8]) -> String {
    let id = Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes);
    hex(&id.finalize())
}

pub(super) fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/random/model")
}
