//! A model in stages: pictures before the language model is there, and a rehearsal before both.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use burn::tensor::Device;
use instructblip_web::checkpoint::Folder;
use instructblip_web::kernels::census;
use instructblip_web::meter;
use instructblip_web::pace::Pace;
use instructblip_web::session::{
    Answer, AskOptions, Blueprint, ModelFiles, Session, list_pipelines, rehearse_picture,
    rehearse_question,
};
use instructblip_web::weights::WeightStore;
use pollster::block_on;

fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| Device::wgpu_options().init().expect("a wgpu adapter")).clone()
}

/// One test at a time: a rehearsal puts the whole process into dry-run mode.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pocket() -> Folder {
    Folder::open(root().join("www/pocket")).unwrap()
}

fn blueprint(folder: &Folder) -> Blueprint {
    let files = ModelFiles {
        config: folder.config().unwrap(),
        preprocessor: folder.preprocessor().unwrap(),
        generation: folder.generation().unwrap(),
        tokenizer: folder.read("tokenizer.json").unwrap(),
        qformer_tokenizer: folder.read_optional("qformer_tokenizer/tokenizer.json").unwrap(),
    };
    Blueprint::parse(&files).unwrap()
}

/// Puts in the tensors of the vision tower, or all others.
fn insert(folder: &Folder, weights: &mut WeightStore, vision: bool) {
    folder
        .for_each_tensor(|tensor| {
            if tensor.name.starts_with("vision_model.") != vision {
                return Ok(());
            }
            weights.insert(tensor.name, tensor.dtype, tensor.shape, tensor.read()?)
        })
        .unwrap();
}

fn shapes() -> Vec<u8> {
    std::fs::read(root().join("www/examples/shapes.png")).unwrap()
}

/// The answer, and the kernels that it ran.
fn ask(session: &mut Session) -> (Answer, u64) {
    let mut on_token = |_: &_| ControlFlow::Continue(());
    let (options, pace) = (AskOptions::default(), Pace::default());
    let question = "What color is the triangle?";
    let work = session.ask(question, &options, &pace, &mut on_token);
    let (answer, counts) = block_on(meter::during(work));
    (answer.unwrap(), counts.dispatches)
}

#[test]
fn a_picture_is_seen_before_the_language_model_is_there() {
    let _alone = alone();
    let (folder, device, pace) = (pocket(), device(), Pace::default());
    let mut weights = blueprint(&folder).store(&device).unwrap();
    insert(&folder, &mut weights, true);
    let mut session = Session::begin(blueprint(&folder), &weights).unwrap();
    let mut other = session.conversation();
    for conversation in [&mut session, &mut other] {
        let infos = block_on(conversation.set_pictures(&[shapes()], &pace)).unwrap();
        assert!(infos[0].vision_ms > 0.0);
        let again = block_on(conversation.set_pictures(&[shapes()], &pace)).unwrap();
        assert_eq!(again[0].vision_ms, 0.0);
    }
    let mut on_token = |_: &_| ControlFlow::Continue(());
    let options = AskOptions::default();
    let asked = session.ask("Is it red?", &options, &pace, &mut on_token);
    assert_eq!(block_on(asked).unwrap_err().code(), "option-invalid");
    insert(&folder, &mut weights, false);
    block_on(session.complete(&weights, &pace)).unwrap();

    let layers = session.config().vision_config.layers() as u64;
    let (first, dispatches) = ask(&mut session);
    assert_eq!(first.text, "yellow");
    assert!(first.statistics.vision_dispatches > 7 * layers);
    let (second, again) = ask(&mut session);
    assert_eq!(second.ids, first.ids);
    assert_eq!(second.statistics.vision_dispatches, 0);
    assert_eq!(dispatches, again, "the first question ran no more than the second");
    // What came for one conversation came for all.
    assert_eq!(ask(&mut other).0.ids, first.ids);
}

#[test]
fn a_missing_part_is_said_when_it_is_needed() {
    let _alone = alone();
    let (folder, device) = (pocket(), device());
    let mut weights = blueprint(&folder).store(&device).unwrap();
    let error = Session::begin(blueprint(&folder), &weights).unwrap_err();
    assert_eq!(error.code(), "tensor-missing");
    insert(&folder, &mut weights, true);
    let early = Session::begin(blueprint(&folder), &weights).unwrap();
    let error = block_on(early.complete(&weights, &Pace::default())).unwrap_err();
    assert_eq!(error.code(), "tensor-missing");
}

#[test]
fn a_rehearsal_changes_no_answer() {
    let _alone = alone();
    let (folder, device, pace) = (pocket(), device(), Pace::default());
    let blueprint = blueprint(&folder);
    block_on(list_pipelines(&blueprint.config, &blueprint.generation, &device, &pace)).unwrap();
    let listed = census::listed();
    assert!(listed > 20, "{listed}");
    assert_eq!(census::handed_over(), 0, "a list makes nothing");
    block_on(rehearse_picture(&blueprint.config, &device, &pace)).unwrap();
    assert!((1..listed).contains(&census::handed_over()));
    block_on(rehearse_question(&blueprint.config, &blueprint.generation, &device, &pace)).unwrap();
    assert_eq!((census::handed_over(), census::listed()), (listed, listed));
    let mut session = Session::open(&folder, &device, |_| ()).unwrap();
    block_on(session.set_picture(&shapes(), &pace)).unwrap();
    assert_eq!(ask(&mut session).0.text, "yellow");
}
