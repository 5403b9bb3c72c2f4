//! Stopping in the middle of the long stages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::OnceLock;

use burn::tensor::Device;
use instructblip_web::checkpoint::Folder;
use instructblip_web::pace::Pace;
use instructblip_web::session::{AskOptions, Session};
use instructblip_web::{Error, Result};
use pollster::block_on;

fn picture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("www/examples").join(name)).unwrap()
}

fn pocket() -> Session {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let device =
        DEVICE.get_or_init(|| instructblip_web::gpu::open().expect("a wgpu adapter")).clone();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/pocket");
    Session::open(&Folder::open(folder).unwrap(), &device, |_| ()).unwrap()
}

fn ask(session: &mut Session, pace: &Pace) -> Result<String> {
    let mut on_token = |_: &_| ControlFlow::Continue(());
    let options = AskOptions::default();
    let answer = session.ask("Describe the picture in detail.", &options, pace, &mut on_token);
    Ok(block_on(answer)?.text)
}

/// Says to stop from the `after`-th time on; the cell counts how often it was asked.
fn stopping(after: usize) -> (Pace, Rc<Cell<usize>>) {
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let pace = Pace::new(move || {
        count.set(count.get() + 1);
        count.get() >= after
    });
    (pace, asked)
}

/// Wherever the wish to stop comes, it is heard at once, and the session goes on with the
/// picture it had.
#[test]
fn a_cancelled_picture_leaves_the_one_before() {
    let mut session = pocket();
    block_on(session.set_picture(&picture("shapes.png"), &Pace::default())).unwrap();
    let answer = ask(&mut session, &Pace::default()).unwrap();

    let (whole, asked) = stopping(usize::MAX);
    block_on(session.set_picture(&picture("pair.png"), &whole)).unwrap();
    let checks = asked.get();
    let blocks = session.config().vision_config.layers();
    assert!(checks >= blocks, "{checks} checks in {blocks} blocks");
    let other = ask(&mut session, &Pace::default()).unwrap();
    assert_ne!(answer, other, "the pictures differ");

    for after in [1, blocks / 2, blocks, checks] {
        let (pace, asked) = stopping(after);
        let stopped = block_on(session.set_picture(&picture("shapes.png"), &pace));
        // Batches depend on the clock, so the last check may not be reached.
        match stopped {
            Err(Error::Cancelled) => assert_eq!(asked.get(), after, "nothing is done after it"),
            Ok(_) => {
                assert!(asked.get() < after);
                block_on(session.set_picture(&picture("pair.png"), &Pace::default())).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(ask(&mut session, &Pace::default()).unwrap(), other);
    }
}

#[test]
fn a_cancelled_question_leaves_the_picture() {
    let mut session = pocket();
    block_on(session.set_picture(&picture("shapes.png"), &Pace::default())).unwrap();
    let answer = ask(&mut session, &Pace::default()).unwrap();
    for after in 1..6 {
        let (pace, asked) = stopping(after);
        assert!(matches!(ask(&mut session, &pace), Err(Error::Cancelled)));
        assert_eq!(asked.get(), after);
    }
    assert_eq!(ask(&mut session, &Pace::default()).unwrap(), answer);
}
