//! Servers that lie, and caches that were prepared.

use super::*;
use serde_json::{Value, json};

/// A server whose list of files was changed.
fn listing(change: impl Fn(&mut Value) + Send + 'static) -> Server {
    let repository = Repository(fixture());
    Server::start(move |request| {
        if request.is_listing() {
            let mut listing = repository.listing();
            change(&mut listing);
            return Reply::new("200 OK", serde_json::to_vec(&listing).unwrap());
        }
        repository.answer(request)
    })
}

/// The entry of a file in a list of files.
fn entry<'a>(listing: &'a mut Value, name: &str) -> &'a mut Value {
    let siblings = listing["siblings"].as_array_mut().unwrap();
    siblings.iter_mut().find(|file| file["rfilename"] == name).unwrap()
}

#[test]
fn a_commit_is_forty_digits() {
    let t = tempfile::tempdir().unwrap();
    let home = t.path().join("home");
    let outside = t.path().join("outside").to_str().unwrap().to_owned();
    let upper = COMMIT.to_uppercase();
    let long = format!("{COMMIT}0");
    for sha in ["../../x", "../../../../outside", &outside, &upper, &long, "", ".", "main"] {
        let sha = sha.to_owned();
        let server = listing(move |listing| listing["sha"] = json!(sha));
        let said = refusal(&server.hub(&home, None));
        assert!(said.contains("is not the name of a commit"), "{said}");
        assert!(server.seen().len() == 1 && paths(t.path()).is_empty(), "nothing was asked for");
    }
}

#[test]
fn no_header_becomes_a_path() {
    let t = tempfile::tempdir().unwrap();
    let (home, victim) = (t.path().join("home"), t.path().join("victim"));
    std::fs::write(&victim, "mine").unwrap();
    for header in ["ETag", "X-Linked-ETag", "X-Repo-Commit"] {
        for name in [victim.to_str().unwrap(), "../../../../victim", "../../../../new"] {
            let (repository, name) = (Repository(fixture()), name.to_owned());
            let server = Server::start(move |request| {
                let mut reply = repository.answer(request);
                reply.headers.retain(|(name, _)| *name != header);
                reply.with(header, format!("\"{name}\""))
            });
            let outcome = fetch(&server.hub(&home, None));
            assert_eq!(std::fs::read(&victim).unwrap(), b"mine", "{header}: {outcome:?}");
            let all = paths(t.path());
            let outside: Vec<_> = all.iter().filter(|path| !path.starts_with("home")).collect();
            assert_eq!(outside, ["victim"], "{header}: {outcome:?}");
            let names = [COMMIT, "refs/main", "blobs", "config.json", "tokenizer.json"];
            outcome.unwrap();
            assert!(names.iter().all(|name| all.iter().any(|path| path.ends_with(name))));
            std::fs::remove_dir_all(&home).unwrap();
        }
    }
}

#[test]
fn names_that_no_conversion_reads_are_left_alone() {
    let t = tempfile::tempdir().unwrap();
    let names = [
        "../x.json",
        "/tmp/x.json",
        "qformer_tokenizer/../x.json",
        "qformer_tokenizer/../../x.txt",
        "qformer_tokenizer/x.txt",
        "qformer_tokenizer\\vocab.txt",
        "../model.safetensors",
        "a/model.safetensors",
        "docs/README.md",
        "LICENSE/x",
        "qformer_tokenizer/spiece.model",
    ];
    let server = listing(move |listing| {
        for name in names {
            let hash = json!({ "rfilename": name, "size": 1, "lfs": { "sha256": "../../x" } });
            listing["siblings"].as_array_mut().unwrap().push(hash);
        }
    });
    fetch(&server.hub(t.path(), None)).unwrap();
    assert_eq!(server.seen().len(), 7, "the list and the six files of the checkpoint");
}

#[test]
fn lists_that_contradict_themselves_are_refused() {
    let t = tempfile::tempdir().unwrap();
    let weights = |change: fn(&mut Value)| {
        listing(move |listing| change(entry(listing, "model.safetensors")))
    };
    let servers = [
        (weights(|file| file["lfs"]["sha256"] = json!("../../x")), "is not a hash"),
        (weights(|file| file["lfs"]["sha256"] = json!("A".repeat(64))), "is not a hash"),
        (weights(|file| file["lfs"]["size"] = json!(7)), "bytes and with 7"),
        (weights(|file| file["size"] = json!("many")), "cannot be read"),
        (weights(|file| (file["size"], file["lfs"]) = (json!(u64::MAX), json!(null))), "more than"),
        (listing(|all| entry(all, "config.json")["blobId"] = json!("/etc/x")), "is not a hash"),
        (listing(|all| entry(all, "config.json")["size"] = json!(1u64 << 40)), "more than"),
        (
            listing(|all| {
                let twice = entry(all, "config.json").clone();
                all["siblings"].as_array_mut().unwrap().push(twice);
            }),
            "lists config.json twice",
        ),
        (listing(|all| all["siblings"] = json!(vec![json!({"rfilename":"x"}); 20_001])), "20000"),
        (
            listing(|all| {
                let named = |n| json!({ "rfilename": format!("LICENSE-{n}"), "size": 1 });
                all["siblings"].as_array_mut().unwrap().extend((0..17).map(named));
            }),
            "more than 16",
        ),
        (listing(|all| all["more"] = json!("x".repeat(9 << 20))), "more than"),
    ];
    for (server, expected) in servers {
        let said = refusal(&server.hub(t.path(), None));
        assert!(said.contains(expected), "{expected}: {said}");
        assert_eq!(server.seen().len(), 1);
    }
    assert!(paths(t.path()).is_empty());
}

#[test]
fn the_token_stays_with_its_endpoint() {
    let t = tempfile::tempdir().unwrap();
    let repository = Repository(fixture());
    let origin = repository.clone();
    let other = Server::start(move |request| origin.answer(request));
    let host = other.address.replace("127.0.0.1", "localhost");
    // By an address and, on the endpoint itself, by a path.
    let server = Server::start(move |request| match request.path.strip_prefix("/moved") {
        _ if request.is_listing() => repository.answer(request),
        None if request.is_for("config.json") => Reply::redirect(format!("/moved{}", request.path)),
        None => Reply::redirect(format!("{host}{}", request.path)),
        Some(path) => repository.answer(&Request { path: path.into(), ..request.clone() }),
    });
    let outcome = fetch(&server.hub(t.path(), Some(TOKEN)));
    let elsewhere = other.seen();
    assert!(elsewhere.iter().all(|request| request.authorization.is_none()), "{elsewhere:?}");
    outcome.unwrap();
    assert_eq!(elsewhere.len(), 5);
    let seen = server.seen();
    assert!(seen.iter().any(|request| request.path.starts_with("/moved")));
    assert!(seen.iter().all(|request| request.authorization.is_some()), "{seen:?}");
}

#[test]
fn the_token_does_not_come_back() {
    let t = tempfile::tempdir().unwrap();
    let address = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let back = address.clone();
    let other = Server::start(move |_| Reply::redirect(format!("{}/chosen", back.lock().unwrap())));
    let away = other.address.clone();
    let repository = Repository(fixture());
    let server = Server::start(move |request| match request.is_listing() {
        true => repository.answer(request),
        false if request.path == "/chosen" => Reply::new("403 Forbidden", Vec::new()),
        false => Reply::redirect(&away),
    });
    *address.lock().unwrap() = server.address.clone();
    fetch(&server.hub(t.path(), Some(TOKEN))).unwrap_err();
    let chosen = server.seen().into_iter().find(|request| request.path == "/chosen").unwrap();
    assert_eq!(chosen.authorization, None);
}

#[test]
fn a_token_is_not_sent_unencrypted() {
    let t = tempfile::tempdir().unwrap();
    let hub = |endpoint: &str, token: &str| Hub {
        endpoint: Some(endpoint.into()),
        token: Some(token.into()),
        home: t.path().into(),
    };
    // An address for documentation: nobody answers there, and nobody is asked.
    let error = fetch(&hub("http://192.0.2.1", TOKEN)).unwrap_err();
    assert_eq!(error.code(), "option-invalid");
    let said = error.to_string();
    assert!(said.contains("not encrypted") && said.contains("unset HF_TOKEN"), "{said}");
    assert!(!said.contains(TOKEN));
    for (endpoint, token) in
        [("ftp://hub.example", TOKEN), ("hub", TOKEN), ("https://hub.example", "a\r\nX-Header: b")]
    {
        assert_eq!(fetch(&hub(endpoint, token)).unwrap_err().code(), "option-invalid");
    }
    assert!(paths(t.path()).is_empty());
}

#[test]
fn redirects_come_to_an_end() {
    let t = tempfile::tempdir().unwrap();
    let server = Server::start(|request| Reply::redirect(format!("{}x", request.path)));
    let said = refusal(&server.hub(t.path(), None));
    assert!(said.contains("redirects more than 8 times"), "{said}");
    assert_eq!(server.seen().len(), 9);
    for location in ["ftp://hub.example/", "http://me@hub.example/", "http://["] {
        let server = Server::start(move |_| Reply::redirect(location));
        refusal(&server.hub(t.path(), None));
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::start(|_| Reply::new("302 Found", Vec::new()));
    assert!(refusal(&server.hub(t.path(), None)).contains("to nowhere"));
}

#[test]
fn bytes_unlike_their_hash_are_thrown_away() {
    for name in ["model.safetensors", "config.json"] {
        let t = tempfile::tempdir().unwrap();
        let repository = Repository(fixture());
        let server = Server::start(move |request| {
            let mut reply = repository.answer(request);
            if request.is_for(name) {
                *reply.body.last_mut().unwrap() ^= 1;
            }
            reply
        });
        let said = refusal(&server.hub(t.path(), None));
        assert!(said.contains(&format!("the bytes of {name} have the hash")), "{said}");
        let left = paths(t.path());
        let named = format!("{COMMIT}/{name}");
        assert!(!left.iter().any(|path| path.ends_with(&named) || path.ends_with(".part")));
        let bytes = std::fs::read(fixture().join(name)).unwrap();
        let hash = if name.ends_with(".json") { git_id(&bytes) } else { sha256(&bytes) };
        assert!(!left.iter().any(|path| path.ends_with(&hash)), "{left:?}");
    }
}

#[test]
fn lengths_unlike_the_list_are_refused() {
    for change in [-1i64, 1] {
        let t = tempfile::tempdir().unwrap();
        let server = listing(move |listing| {
            let file = entry(listing, "model.safetensors");
            let size = file["size"].as_i64().unwrap() + change;
            (file["size"], file["lfs"]["size"]) = (json!(size), json!(size));
        });
        let said = refusal(&server.hub(t.path(), None));
        assert!(said.contains("bytes for model.safetensors, which has"), "{said}");
        assert!(!paths(t.path()).iter().any(|path| path.ends_with("model.safetensors")));
    }
}

#[cfg(unix)]
#[test]
fn no_folder_leads_out_of_the_cache() {
    use std::os::unix::fs::symlink;
    let repository = Repository(fixture());
    let server = Server::start(move |request| repository.answer(request));
    let model = "home/hub/models--owner--model";
    for (folder, parent) in [
        (model.to_owned(), "home/hub".to_owned()),
        (format!("{model}/blobs"), model.into()),
        (format!("{model}/snapshots"), model.into()),
        (format!("{model}/snapshots/{COMMIT}"), format!("{model}/snapshots")),
        (format!("{model}/refs"), model.into()),
    ] {
        let t = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(t.path().join("outside")).unwrap();
        std::fs::create_dir_all(t.path().join(parent)).unwrap();
        symlink(t.path().join("outside"), t.path().join(&folder)).unwrap();
        let error = fetch(&server.hub(&t.path().join("home"), None)).unwrap_err();
        assert_eq!(error.code(), "option-invalid", "{folder}: {error}");
        assert!(error.to_string().contains("leads out of the cache"), "{error}");
        assert!(paths(&t.path().join("outside")).is_empty(), "{folder}");
    }
    // The cache itself may lie elsewhere.
    let t = tempfile::tempdir().unwrap();
    for folder in ["home", "disk"] {
        std::fs::create_dir(t.path().join(folder)).unwrap();
    }
    symlink(t.path().join("disk"), t.path().join("home/hub")).unwrap();
    fetch(&server.hub(&t.path().join("home"), None)).unwrap();
}

#[cfg(unix)]
#[test]
fn links_in_the_place_of_files_are_replaced() {
    use std::os::unix::fs::symlink;
    let repository = Repository(fixture());
    let server = Server::start(move |request| repository.answer(request));
    let t = tempfile::tempdir().unwrap();
    let victim = t.path().join("victim");
    std::fs::write(&victim, "mine").unwrap();
    let bytes = std::fs::read(fixture().join("model.safetensors")).unwrap();
    let root = t.path().join("home/hub/models--owner--model");
    std::fs::create_dir_all(root.join("blobs")).unwrap();
    std::fs::create_dir_all(root.join("snapshots").join(COMMIT)).unwrap();
    let blob = root.join("blobs").join(sha256(&bytes));
    symlink(&victim, &blob).unwrap();
    symlink(&victim, blob.with_extension("part")).unwrap();
    let config = std::fs::read(fixture().join("config.json")).unwrap();
    std::fs::hard_link(&victim, root.join("blobs").join(git_id(&config) + ".part")).unwrap();
    symlink(&victim, root.join("snapshots").join(COMMIT).join("config.json")).unwrap();
    let folder = fetch(&server.hub(&t.path().join("home"), None)).unwrap();
    assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), bytes);
    assert_eq!(std::fs::read(folder.join("config.json")).unwrap(), config);
}
