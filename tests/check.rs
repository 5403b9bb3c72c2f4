//! `instructblip check`: good sets pass, and every kind of damage and of wrong header is named.
#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use instructblip_web::check::source::Source;
use instructblip_web::check::{Report, Severity, check};
use serde_json::Value;

const PAGE: &str = "https://page.example";
const LASTING: &str = "public, max-age=31536000, immutable";

fn pocket() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/www/pocket"))
}

/// The file names of its shards, the only ones with a hash.
fn shards() -> Vec<String> {
    let index = std::fs::read(pocket().join("model.safetensors.index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    index["metadata"]["shards"].as_object().unwrap().keys().cloned().collect()
}

#[derive(Clone)]
struct Reply {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    /// As a host that is set up well sends it.
    fn good(path: &str, range: Option<usize>) -> Self {
        let Ok(body) = std::fs::read(pocket().join(path)) else {
            return Self { status: "404 Not Found", headers: Vec::new(), body: Vec::new() };
        };
        let mut headers = vec![("Access-Control-Allow-Origin", "*".to_owned())];
        if path.ends_with(".safetensors") {
            headers.push(("Cache-Control", LASTING.into()));
        }
        let Some(start) = range else { return Self { status: "200 OK", headers, body } };
        headers.push(("Content-Range", format!("bytes {start}-{}/{}", body.len() - 1, body.len())));
        Self { status: "206 Partial Content", headers, body: body[start..].to_vec() }
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    fn with(self, name: &'static str, value: &str) -> Self {
        let mut reply = self.without(name);
        reply.headers.push((name, value.into()));
        reply
    }

    fn page() -> Self {
        Self::good("", None)
            .with("Content-Type", "text/html")
            .body(b"<!doctype html>")
            .status("200 OK")
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    fn status(mut self, status: &'static str) -> Self {
        self.status = status;
        self
    }
}

/// Serves pocket, each answer changed by `change`; the address of its folder.
fn serve(change: impl Fn(&str, Reply) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/set/", listener.local_addr().unwrap());
    let change = Arc::new(change);
    // The thread ends with the process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let change = Arc::clone(&change);
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                let path = first.split(' ').nth(1).unwrap().trim_start_matches("/set/").to_owned();
                let mut range = None;
                for line in lines.map_while(|line| line.ok().filter(|line| !line.is_empty())) {
                    let line = line.to_ascii_lowercase();
                    let start =
                        line.strip_prefix("range: bytes=").and_then(|r| r.strip_suffix('-'));
                    range = range.or(start.and_then(|start| start.parse().ok()));
                }
                let reply = change(&path, Reply::good(&path, range));
                let mut head = format!(
                    "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n",
                    reply.status,
                    reply.body.len()
                );
                for (name, value) in reply.headers {
                    head += &format!("{name}: {value}\r\n");
                }
                // The client may have gone away.
                let _ = stream.write_all((head + "\r\n").as_bytes());
                let _ = stream.write_all(&reply.body);
            });
        }
    });
    address
}

fn report(place: &str, page: Option<&str>) -> Report {
    check(&Source::new(place, page).unwrap(), &mut |done, total| assert!(done <= total)).unwrap()
}

/// What is said of a set served like this to [`PAGE`]; the report must be as good as `worst`.
fn said(
    worst: Option<Severity>,
    change: impl Fn(&str, Reply) -> Reply + Send + Sync + 'static,
) -> String {
    let report = report(&serve(change), Some(PAGE));
    let found = report.findings.first().map(|finding| finding.severity);
    let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(found, worst, "{lines:#?}");
    lines.join("\n")
}

#[test]
fn a_good_set_has_nothing_said_of_it() {
    assert_eq!(said(None, |_, reply| reply), "");
    let folder = report(pocket().to_str().unwrap(), None);
    assert_eq!(folder.findings, []);
    // Five of the six small files, and the shards.
    assert!(folder.files > shards().len() + 4 && folder.bytes > 1_900_000, "{folder:?}");
    let host = serve(|_, reply| reply);
    assert_eq!(report(&format!("{host}config.json"), Some(PAGE)), folder, "a file's address");
}

#[test]
fn damage_is_named() {
    let broken = Some(Severity::Broken);
    let shard = shards().remove(0);
    let of = |name: &str| (name.to_owned(), name.to_owned());
    let (name, asked) = of(&shard);
    let absent = said(broken, move |path, reply| match path == asked {
        true => Reply { status: "404 Not Found", headers: vec![], body: vec![] },
        false => reply,
    });
    assert_eq!(absent, format!("broken: {name}: there is no such file, but the index names it"));
    let (name, asked) = of(&shard);
    let short = said(broken, move |path, mut reply| {
        reply.body.truncate(if path == asked { 1000 } else { usize::MAX });
        reply
    });
    assert!(short.starts_with(&format!("broken: {name}: it has 1000 bytes")), "{short}");
    let (name, asked) = of(&shard);
    let flipped = said(broken, move |path, mut reply| {
        if path == asked {
            *reply.body.last_mut().unwrap() ^= 1;
        }
        reply
    });
    assert!(flipped.starts_with(&format!("broken: {name}: its SHA-256 is not")), "{flipped}");
    let (name, asked) = of(&shard);
    let long = said(broken, move |path, mut reply| {
        reply.body.extend(if path == asked { &b"x"[..] } else { b"" });
        reply
    });
    assert!(long.starts_with(&format!("broken: {name}: it has more than")), "{long}");
    let everything = said(broken, |_, _| Reply::page());
    assert!(everything.contains("web page in its place"), "{everything}");
    let pages = said(broken, |path, reply| match path.ends_with(".safetensors") {
        true => Reply::page(),
        false => reply,
    });
    assert!(pages.contains("web page in its place"), "{pages}");
    let busy = said(broken, |path, reply| match path == "tokenizer.json" {
        true => reply.status("403 Forbidden"),
        false => reply,
    });
    assert_eq!(busy, "broken: tokenizer.json: the host answers 403");
}

#[test]
fn small_files_that_do_not_fit_are_named() {
    let broken = Some(Severity::Broken);
    let changed = |file: &'static str, change: fn(&mut Value)| {
        said(broken, move |path, reply| {
            if path != file {
                return reply;
            }
            let mut json = serde_json::from_slice(&reply.body).unwrap();
            change(&mut json);
            reply.body(&serde_json::to_vec(&json).unwrap())
        })
    };
    let index = "model.safetensors.index.json";
    let length = changed(index, |index| {
        for shard in index["metadata"]["shards"].as_object_mut().unwrap().values_mut() {
            shard["bytes"] = (shard["bytes"].as_u64().unwrap() - 1).into();
        }
    });
    assert!(length.contains("more than the") && length.contains("the index says"), "{length}");
    let config = changed("config.json", |config| config["text_config"]["d_ff"] = 1024.into());
    assert!(config.contains("do not belong together"), "{config}");
    let about = changed("config.json", |config| {
        config["instructblip_web_about"] = serde_json::json!({ "knows": 1 });
    });
    assert!(about.contains("instructblip_web_about"), "{about}");
    let tokenizer = changed("tokenizer.json", |tokenizer| *tokenizer = serde_json::json!({}));
    assert!(tokenizer.contains("tokenizer.json"), "{tokenizer}");
    let plain =
        changed(index, |index| drop(index["metadata"].as_object_mut().unwrap().remove("shards")));
    assert!(plain.contains("instructblip convert"), "{plain}");
}

#[test]
fn headers_are_heard() {
    const ALLOW: &str = "Access-Control-Allow-Origin";
    let (broken, warning, note) =
        (Some(Severity::Broken), Some(Severity::Warning), Some(Severity::Note));
    let none = said(broken, |_, reply| reply.without(ALLOW));
    assert!(none.contains("must send Access-Control-Allow-Origin: https://page.example"), "{none}");
    assert_eq!(none.lines().count(), 1, "the same of all files is one line: {none}");
    let other = said(broken, |_, reply| reply.with(ALLOW, "https://other.example"));
    assert!(other.contains("\"https://other.example\""), "{other}");
    let twice = said(broken, |_, mut reply| {
        reply.headers.push((ALLOW, "*".into()));
        reply
    });
    assert!(twice.contains("twice"), "{twice}");
    assert_eq!(said(None, |_, reply| reply.with(ALLOW, PAGE)), "");
    let stale = said(warning, |path, reply| match path.ends_with(".json") {
        true => reply.with("Cache-Control", LASTING),
        false => reply,
    });
    assert!(stale.contains("would load the old set"), "{stale}");
    let forgotten = said(note, |_, reply| reply.without("Cache-Control"));
    assert!(forgotten.contains("max-age=31536000"), "{forgotten}");
    let whole = said(note, |path, reply| match reply.status.starts_with("206") {
        true => Reply::good(path, None),
        false => reply,
    });
    assert!(whole.contains("(Range)"), "{whole}");
    let packed = said(warning, |path, reply| match path.ends_with(".safetensors") {
        true => reply.with("Content-Encoding", "br"),
        false => reply,
    });
    assert!(packed.contains("\"br\", unasked"), "{packed}");
    let soft = said(note, |path, reply| match path == "generation_config.json" {
        true => Reply::page(),
        false => reply,
    });
    assert!(soft.contains("should say 404"), "{soft}");
    let elsewhere = serve(|_, reply| reply);
    let led = said(warning, move |path, reply| {
        let to = format!("{elsewhere}{path}");
        match path.ends_with(".safetensors") {
            true => reply.status("302 Found").with("Location", &to),
            false => reply,
        }
    });
    assert!(led.contains("sends on to http://127.0.0.1:"), "{led}");
}

#[test]
fn who_asks_matters() {
    let closed = serve(|_, reply| reply.without("Access-Control-Allow-Origin"));
    let own = closed.trim_end_matches("/set/").to_owned();
    assert_eq!(report(&closed, Some(&own)).findings, [], "a page of the same host needs no header");
    let anyone = report(&closed, None);
    assert!(anyone.is_good() && anyone.findings[0].what.contains("of the host itself"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = report(&format!("http://{nobody}/"), Some(PAGE));
    assert!(silent.findings[0].what.starts_with("no answer from http://127.0.0.1:"), "{silent:?}");
}

#[test]
fn the_command_says_it_and_ends_with_it() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_instructblip"));
        let output = command.arg("check").args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, _) = run(&[pocket().to_str().unwrap()]);
    assert!(code == Some(0) && said.starts_with("the set loads: "), "{said}");
    let damaged = serve(|path, mut reply| {
        if path.ends_with(".safetensors") {
            reply.body[5000] ^= 1;
        }
        reply.with("Access-Control-Allow-Origin", "\u{9b}31m\u{202e}x")
    });
    let (code, said, _) = run(&[&damaged, "--origin", PAGE]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("its SHA-256 is not") && said.contains("the set does not load"),
        "{said}"
    );
    assert!(!said.contains(['\u{9b}', '\u{202e}']), "{said:?}");
    let (code, json, _) = run(&[&damaged, "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["findings"][0]["severity"]), (Some(1), &"broken".into()));
    let (code, _, error) = run(&["/no/such/folder"]);
    assert!(code == Some(1) && error.contains("there is no such folder"), "{error}");
}
