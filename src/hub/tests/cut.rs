//! Transfers that are cut off, stall, or begin with the bytes of an earlier one.

use super::*;
use std::time::Duration;

const WEIGHTS: &str = "model.safetensors";

fn weights() -> Vec<u8> {
    std::fs::read(fixture().join(WEIGHTS)).unwrap()
}

/// A server whose answers about the weights were changed; `change` gets their number.
fn weights_server(change: impl Fn(usize, &Request, &mut Reply) + Send + 'static) -> Server {
    let (repository, mut number) = (Repository(fixture()), 0);
    Server::start(move |request| {
        let mut reply = repository.answer(request);
        if request.is_for(WEIGHTS) {
            change(number, request, &mut reply);
            number += 1;
        }
        reply
    })
}

/// The first bytes asked for of the weights, in order.
fn starts(server: &Server) -> Vec<usize> {
    let seen = server.seen();
    let weights = seen.iter().filter(|request| request.is_for(WEIGHTS));
    weights.map(|request| request.start.unwrap_or(0)).collect()
}

fn part(home: &Path) -> PathBuf {
    let blobs = home.join("hub/models--owner--model/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    blobs.join(sha256(&weights()) + ".part")
}

fn is_whole(folder: &Path) {
    assert_eq!(std::fs::read(folder.join(WEIGHTS)).unwrap(), weights());
    assert!(!paths(&folder.join("../..")).iter().any(|path| path.ends_with(".part")));
}

#[test]
fn what_has_arrived_is_kept() {
    let t = tempfile::tempdir().unwrap();
    let half = weights().len() / 2;
    let server = weights_server(move |number, _, reply| match number {
        0 => reply.body.truncate(half),
        _ => *reply = Reply::new("503 Service Unavailable", Vec::new()),
    });
    let error = fetch(&server.hub(t.path(), None)).unwrap_err();
    assert_eq!(error.code(), "network");
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(std::fs::read(part(t.path())).unwrap(), weights()[..half]);
    assert_eq!(starts(&server).len(), 6, "five attempts more, and no end of them");
    let server = weights_server(|_, _, _| ());
    is_whole(&fetch(&server.hub(t.path(), None)).unwrap());
    assert_eq!(starts(&server), [half]);
}

#[test]
fn a_part_of_something_else_is_fetched_anew_once() {
    let t = tempfile::tempdir().unwrap();
    let all = weights().len();
    for planted in [vec![7; 100], vec![7; all], vec![7; all + 1], Vec::new(), weights()] {
        let server = weights_server(|_, _, _| ());
        let right = planted == weights();
        std::fs::write(part(t.path()), &planted).unwrap();
        is_whole(&fetch(&server.hub(t.path(), None)).unwrap());
        let expected = match planted.len() {
            100 => vec![100, 0],
            _ if right => vec![],
            _ => vec![0],
        };
        assert_eq!(starts(&server), expected, "{}", planted.len());
        std::fs::remove_dir_all(t.path().join("hub")).unwrap();
    }
    // Where the server's bytes are wrong as well, that is the end.
    std::fs::write(part(t.path()), [7; 100]).unwrap();
    let server = weights_server(|_, _, reply| reply.body[0] ^= 1);
    refusal(&server.hub(t.path(), None));
    assert_eq!(starts(&server), [100, 0]);
    assert!(!part(t.path()).exists());
}

#[test]
fn a_server_without_ranges_starts_over() {
    let t = tempfile::tempdir().unwrap();
    let half = weights().len() / 2;
    let server = weights_server(move |number, _, reply| {
        let cut = if number == 0 { half } else { usize::MAX };
        *reply = Reply::new("200 OK", weights());
        reply.body.truncate(cut);
    });
    is_whole(&fetch(&server.hub(t.path(), None)).unwrap());
    assert_eq!(starts(&server), [0, half]);
}

#[test]
fn ranges_that_cannot_be_had_are_not_insisted_on() {
    let t = tempfile::tempdir().unwrap();
    std::fs::write(part(t.path()), &weights()[..100]).unwrap();
    let server = weights_server(|_, request, reply| {
        if request.start.is_some() {
            *reply = Reply::new("416 Range Not Satisfiable", Vec::new());
        }
    });
    is_whole(&fetch(&server.hub(t.path(), None)).unwrap());
    assert_eq!(starts(&server), [100, 0]);
    // Another range than was asked for is no answer.
    std::fs::remove_dir_all(t.path().join("hub")).unwrap();
    std::fs::write(part(t.path()), &weights()[..100]).unwrap();
    let server = weights_server(|_, _, reply| {
        reply.headers.retain(|(name, _)| *name != "Content-Range");
        reply.headers.push(("Content-Range", "bytes 50-99/100".into()));
    });
    assert!(refusal(&server.hub(t.path(), None)).contains("another range"));
}

#[test]
fn a_longer_body_is_cut_at_its_length() {
    let t = tempfile::tempdir().unwrap();
    let server = weights_server(|_, _, reply| {
        reply.length = None;
        reply.body.extend([7; 100_000]);
    });
    is_whole(&fetch(&server.hub(t.path(), None)).unwrap());
    assert_eq!(starts(&server), [0]);
}

#[test]
fn a_busy_server_is_asked_again() {
    let t = tempfile::tempdir().unwrap();
    let repository = Repository(fixture());
    let mut number = 0;
    let server = Server::start(move |request| {
        number += 1;
        match number % 3 {
            1 => Reply::new("429 Too Many Requests", Vec::new()).with("Retry-After", "0"),
            2 => Reply::new("502 Bad Gateway", Vec::new()),
            _ => repository.answer(request),
        }
    });
    is_whole(&fetch(&server.hub(t.path(), None)).unwrap());
}

#[test]
fn silence_ends_an_attempt() {
    let t = tempfile::tempdir().unwrap();
    let half = weights().len() / 2;
    let server = weights_server(move |number, _, reply| {
        if number == 0 {
            reply.body.truncate(half);
            // Longer than the client waits; the next request waits for this one to end.
            reply.hang = Duration::from_millis(900);
        }
    });
    is_whole(&fetch(&server.hub(t.path(), None)).unwrap());
    assert_eq!(starts(&server), [0, half]);
}

/// A list of files without lengths and hashes, as simple mirrors have it.
#[test]
fn a_list_may_say_less() {
    let t = tempfile::tempdir().unwrap();
    let bare = |sizes: bool, lengths: bool| {
        let (repository, mut cuts) = (Repository(fixture()), true);
        Server::start(move |request| {
            let mut reply = repository.answer(request);
            if request.is_listing() {
                let mut listing = repository.listing();
                for file in listing["siblings"].as_array_mut().unwrap() {
                    let file = file.as_object_mut().unwrap();
                    file.retain(|key, _| key == "rfilename" || (sizes && key == "size"));
                }
                return Reply::new("200 OK", serde_json::to_vec(&listing).unwrap());
            }
            reply.length = reply.length.filter(|_| lengths);
            if request.is_for(WEIGHTS) && std::mem::take(&mut cuts) {
                reply.body.truncate(1000);
            }
            reply
        })
    };
    for (sizes, lengths) in [(true, true), (true, false), (false, true)] {
        let server = bare(sizes, lengths);
        let folder = fetch(&server.hub(t.path(), None)).unwrap();
        is_whole(&folder);
        assert_eq!(starts(&server), [0, 1000]);
        fetch(&server.hub(t.path(), None)).unwrap();
        assert_eq!(server.seen().len(), 1);
        std::fs::remove_dir_all(t.path().join("hub")).unwrap();
    }
    let said = refusal(&bare(false, false).hub(t.path(), None));
    assert!(said.contains("does not say how long"), "{said}");
}

#[test]
fn two_processes_do_not_write_to_one_part() {
    let t = tempfile::tempdir().unwrap();
    let held = std::fs::File::create(part(t.path())).unwrap();
    held.lock().unwrap();
    let server = weights_server(|_, _, _| ());
    let error = fetch(&server.hub(t.path(), None)).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    held.unlock().unwrap();
    is_whole(&fetch(&server.hub(t.path(), None)).unwrap());
}
