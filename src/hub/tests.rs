//! Downloads from servers on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cut;
mod hostile;
mod server;

use super::*;
use crate::checkpoint::Folder;
use crate::convert::{ConvertOptions, convert};
use crate::quant::Format;
use server::*;
use std::ops::ControlFlow;
use std::path::Path;

/// All paths below a folder, links not followed.
fn paths(folder: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            let path = entry.path();
            found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

fn fetch(hub: &Hub) -> Result<PathBuf> {
    hub.fetch("owner/model", "main", &mut |_, _| ())
}

/// What is said of an answer that is refused.
fn refusal(hub: &Hub) -> String {
    let error = fetch(hub).unwrap_err();
    assert_eq!(error.code(), "network", "{error}");
    let said = error.to_string();
    assert!(said.contains("the server's answer is refused"), "{said}");
    said
}

#[test]
fn a_repository_converts_as_its_folder_does() {
    let t = tempfile::tempdir().unwrap();
    let repository = Repository(fixture());
    let mut cuts = true;
    let server = Server::start(move |request| {
        let mut reply = repository.answer(request);
        if request.is_for("model.safetensors") && std::mem::take(&mut cuts) {
            reply.body.truncate(reply.body.len() / 2);
        }
        reply
    });
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
    let half = std::fs::metadata(fixture().join("model.safetensors")).unwrap().len() as usize / 2;
    assert!(seen.iter().any(|r| r.is_for("model.safetensors") && r.start == Some(half)));

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
    fetch(&server.hub(t.path(), None)).unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].authorization, None);
}

#[test]
fn texts_and_the_tokenizer_s_own_form_come_along() {
    let t = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 5] = [
        ("README.md", b"# A model\n"),
        ("LICENSE.txt", b"Do as you like.\n"),
        ("NOTICE", b"Nobody's.\n"),
        ("spiece.model", &[0x0a, 3, 0x0a, 1, b'a']),
        ("chat_template.jinja", b"{{ messages }}"),
    ];
    let source = t.path().join("source");
    std::fs::create_dir_all(source.join("qformer_tokenizer")).unwrap();
    for path in paths(&fixture()) {
        if fixture().join(&path).is_file() {
            std::fs::copy(fixture().join(&path), source.join(&path)).unwrap();
        }
    }
    files.iter().for_each(|(name, bytes)| std::fs::write(source.join(name), bytes).unwrap());
    let repository = Repository(source);
    let server = Server::start(move |request| repository.answer(request));
    let fetched = fetch(&server.hub(&t.path().join("home"), None)).unwrap();
    for (name, bytes) in files {
        assert_eq!(std::fs::read(fetched.join(name)).unwrap(), bytes, "{name}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    let t = tempfile::tempdir().unwrap();
    let fetch = |private: bool, token, name: &str, revision: &str| {
        let repository = Repository(fixture());
        let server = Server::start(move |request| {
            let known = request.authorization.as_deref() == Some("Bearer hf_secret");
            match private && !known {
                true => Reply::new("401 Unauthorized", Vec::new()),
                false => repository.answer(request),
            }
        });
        let error = server.hub(t.path(), token).fetch(name, revision, &mut |_, _| ()).unwrap_err();
        assert_eq!(error.code(), "network");
        error.to_string()
    };
    let said = fetch(true, None, "owner/model", "main");
    assert!(said.contains("401") && said.contains("set HF_TOKEN"), "{said}");
    assert!(said.contains("sent to huggingface.co only"), "{said}");
    let said = fetch(true, Some("wrong"), "owner/model", "main");
    assert!(said.contains("the token (HF_TOKEN"), "{said}");
    let said = fetch(false, None, "owner/model", "v9");
    assert!(said.contains("404") && said.contains("no revision v9"), "{said}");
    let said = fetch(false, None, "owner/other", "main");
    assert!(said.contains("no repository owner/other"), "{said}");
    let nobody =
        Hub { endpoint: Some("http://127.0.0.1:1".into()), token: None, home: t.path().into() };
    assert_eq!(nobody.fetch("owner/model", "main", &mut |_, _| ()).unwrap_err().code(), "network");
    let wrong = |name: &str| nobody.fetch(name, "main", &mut |_, _| ()).unwrap_err().code();
    assert_eq!((wrong("../.."), wrong("a/b/c")), ("option-invalid", "option-invalid"));
}

#[test]
fn no_log_shows_the_token() {
    let hub = Hub { endpoint: None, token: Some(TOKEN.into()), home: "home".into() };
    let shown = format!("{hub:?}");
    assert!(!shown.contains(TOKEN) && shown.contains("home"), "{shown}");
}

#[test]
fn names_of_repositories() {
    for name in ["Salesforce/instructblip-vicuna-7b", "a/b", "a_b/c.d"] {
        assert!(is_repository(name), "{name}");
    }
    for name in ["model", "a/b/c", "/a", "a/", "./model", "../model", "a/..", "a/b c", "-a/b"] {
        assert!(!is_repository(name), "{name}");
    }
}

/// The cache as `huggingface_hub` leaves it: blobs under their hashes, relative links to them.
#[cfg(unix)]
#[test]
fn files_of_other_tools_are_found() {
    let t = tempfile::tempdir().unwrap();
    let root = t.path().join("hub/models--owner--model");
    let snapshot = root.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(snapshot.join("qformer_tokenizer")).unwrap();
    for folder in ["blobs", "refs"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("refs/main"), COMMIT).unwrap();
    let names = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "qformer_tokenizer/tokenizer.json",
    ];
    for name in names {
        let bytes = std::fs::read(fixture().join(name)).unwrap();
        let hash = if name.ends_with(".json") { git_id(&bytes) } else { sha256(&bytes) };
        std::fs::write(root.join("blobs").join(&hash), bytes).unwrap();
        let up = if name.contains('/') { "../../../blobs" } else { "../../blobs" };
        // One blob without a link is found by its name.
        if name != "tokenizer.json" {
            std::os::unix::fs::symlink(format!("{up}/{hash}"), snapshot.join(name)).unwrap();
        }
    }
    let before = paths(t.path());
    let repository = Repository(fixture());
    let server = Server::start(move |request| repository.answer(request));
    assert_eq!(fetch(&server.hub(t.path(), None)).unwrap(), snapshot);
    let seen = server.seen();
    assert!(seen.len() == 1 && seen[0].is_listing(), "{seen:?}");
    let mut after = paths(t.path());
    after.retain(|path| !path.ends_with("/tokenizer.json") || path.contains("qformer"));
    assert_eq!(after, before);

    // And a download leaves exactly what that tool would.
    let ours = tempfile::tempdir().unwrap();
    fetch(&server.hub(ours.path(), None)).unwrap();
    assert_eq!(paths(ours.path()), paths(t.path()));
    for name in names {
        let path = format!("hub/models--owner--model/snapshots/{COMMIT}/{name}");
        let link = |home: &Path| std::fs::read_link(home.join(&path)).unwrap();
        assert_eq!(link(ours.path()), link(t.path()));
    }

    // A file there that was damaged is fetched again.
    let weights = snapshot.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    server.seen();
    fetch(&server.hub(t.path(), None)).unwrap();
    assert!(server.seen().iter().skip(1).all(|request| request.is_for("model.safetensors")));
    let right = std::fs::read(fixture().join("model.safetensors")).unwrap();
    assert_eq!(std::fs::read(&weights).unwrap(), right);
}

#[test]
fn the_stored_login_is_for_the_hub_alone() {
    let t = tempfile::tempdir().unwrap();
    std::fs::write(t.path().join("token"), "hf_stored\n").unwrap();
    std::fs::write(t.path().join("other"), "hf_other").unwrap();
    let token = |variables: &[(&str, &str)]| {
        let home = t.path().to_str().unwrap().to_owned();
        let variable = |name: &str| match name {
            "HF_HOME" => Some(home.clone()),
            _ => Some(variables.iter().find(|(n, _)| *n == name)?.1.replace("HOME", &home)),
        };
        Hub::from_variables(variable, None).unwrap().token
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(token(&[]), some("hf_stored"));
    assert_eq!(token(&[("HF_TOKEN_PATH", "HOME/other")]), some("hf_other"));
    assert_eq!(token(&[("HF_TOKEN_PATH", "HOME/none")]), None);
    assert_eq!(token(&[("HF_ENDPOINT", "https://huggingface.co/")]), some("hf_stored"));
    for endpoint in ["https://mirror.example", "http://huggingface.co", "http://127.0.0.1:80"] {
        assert_eq!(token(&[("HF_ENDPOINT", endpoint)]), None, "{endpoint}");
        let given = [("HF_ENDPOINT", endpoint), ("HF_TOKEN", "hf_given")];
        assert_eq!(token(&given), some("hf_given"), "{endpoint}");
    }
}

#[test]
fn revisions_are_noted_where_they_are_plain() {
    let t = tempfile::tempdir().unwrap();
    let cache = Cache::open(t.path(), "owner/model").unwrap();
    for revision in ["main", "refs/pr/1", "../../x", "a/../b", "/x", "", "a//b", ".x", COMMIT] {
        cache.note_revision(revision, COMMIT).unwrap();
    }
    cache.note_revision("main", COMMIT).unwrap();
    let files = ["refs", "refs/main", "refs/refs", "refs/refs/pr", "refs/refs/pr/1"];
    let folder = t.path().join("hub/models--owner--model");
    assert_eq!(paths(&folder), files);
    assert_eq!(std::fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
}
