//! Several pictures at a time, where the model looked, and prompts that must fit, through the
//! session as the command line and the browser use it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::tensor::Device;
use instructblip_web::checkpoint::Folder;
use instructblip_web::pace::Pace;
use instructblip_web::prompt::{Prompt, Turn};
use instructblip_web::session::{
    AskOptions, AttentionOptions, LIMIT_PICTURES, PictureMap, Session,
};
use instructblip_web::{Error, Result};
use pollster::block_on;
use safetensors::SafeTensors;

const PROMPT: &str = "What color is the big circle?";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn session(folder: &Path) -> Session {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let adapter = "a wgpu adapter (on Debian: mesa-vulkan-drivers)";
    let device = DEVICE.get_or_init(|| instructblip_web::gpu::open().expect(adapter));
    Session::open(&Folder::open(folder).unwrap(), device, |_| ()).unwrap()
}

fn set(session: &mut Session, pictures: &[Vec<u8>]) -> Result<Vec<f64>> {
    let infos = block_on(session.set_pictures(pictures, &Pace::default()))?;
    Ok(infos.iter().map(|info| info.vision_ms).collect())
}

fn ask(session: &mut Session) -> Vec<u32> {
    let options =
        AskOptions { max_new_tokens: Some(12), min_length: Some(1), ..AskOptions::default() };
    let mut on_token = |_: &_| ControlFlow::Continue(());
    block_on(session.ask(PROMPT, &options, &Pace::default(), &mut on_token)).unwrap().ids
}

/// `image_rgb_u8` as PNG files, one a picture.
fn pictures(golden: &SafeTensors<'_>) -> Vec<Vec<u8>> {
    let tensor = golden.tensor("image_rgb_u8").unwrap();
    let [.., height, width, 3] = tensor.shape() else { panic!("{:?}", tensor.shape()) };
    let png = |rgb: &[u8]| {
        let picture = image::RgbImage::from_raw(*width as u32, *height as u32, rgb.to_vec());
        let mut bytes = Cursor::new(Vec::new());
        picture.unwrap().write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    tensor.data().chunks(width * height * 3).map(png).collect()
}

fn floats(golden: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let (values, _) = golden.tensor(name).unwrap().data().as_chunks::<4>();
    values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The answer about two pictures is the reference's, and known pictures are not seen again.
#[test]
fn two_pictures_are_asked_about_together() {
    let bytes = std::fs::read(fixture("random/two_pictures.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let (ids, _) = golden.tensor("greedy_ids").unwrap().data().as_chunks::<8>();
    let expected: Vec<u32> = ids.iter().skip(1).map(|id| i64::from_le_bytes(*id) as u32).collect();

    let mut session = session(&fixture("random/model"));
    let pictures = pictures(&golden);
    assert!(set(&mut session, &pictures).unwrap().iter().all(|ms| *ms > 0.0));
    assert_eq!(ask(&mut session), expected);

    let reversed: Vec<_> = pictures.iter().rev().cloned().collect();
    assert_eq!(set(&mut session, &reversed).unwrap(), [0.0, 0.0], "both are known");
    assert_ne!(ask(&mut session), expected, "their order matters");
    assert_eq!(set(&mut session, &pictures).unwrap(), [0.0, 0.0]);
    assert_eq!(ask(&mut session), expected);
}

#[test]
fn pictures_that_cannot_be_leave_those_before() {
    let mut session = session(&fixture("random/model"));
    let bytes = std::fs::read(fixture("random/two_pictures.safetensors")).unwrap();
    let pictures = pictures(&SafeTensors::deserialize(&bytes).unwrap());
    set(&mut session, &pictures).unwrap();
    let before = ask(&mut session);
    let too_many = vec![pictures[0].clone(); LIMIT_PICTURES + 1];
    for (bad, code) in [
        (vec![], "option-invalid"),
        (too_many, "option-invalid"),
        (vec![pictures[0].clone(), b"no picture".to_vec()], "picture-undecodable"),
    ] {
        assert_eq!(set(&mut session, &bad).unwrap_err().code(), code);
        assert_eq!(ask(&mut session), before);
    }
    set(&mut session, &vec![pictures[0].clone(); LIMIT_PICTURES]).unwrap();
    ask(&mut session);
}

/// `expected` are the reference's `cross_attentions`, `[layers, queries, tokens]`, each the mean
/// over its heads.
fn assert_maps(found: &PictureMap, expected: &[f32], tokens: usize) {
    let close = |a: f32, b: f32| assert!((a - b).abs() <= 1e-4, "{a} is not {b}");
    let layers = expected.chunks_exact(expected.len() / found.layers.len());
    for (layer, expected) in found.layers.iter().zip(layers.clone()) {
        let rows: Vec<&[f32]> = expected.chunks_exact(tokens).collect();
        let mean = |i: usize| rows.iter().map(|row| row[i]).sum::<f32>() / rows.len() as f32;
        close(layer.class_share, mean(0));
        assert_eq!(layer.average.len(), tokens - 1);
        for (i, value) in layer.average.iter().enumerate() {
            close(*value, mean(i + 1));
        }
    }
    let last = found.layers.last().unwrap();
    assert_eq!((&found.average, found.class_share), (&last.average, last.class_share));
    let rows = layers.last().unwrap().chunks_exact(tokens);
    assert_eq!(found.queries.len(), rows.len());
    for (query, row) in found.queries.iter().zip(rows) {
        query.iter().zip(&row[1..]).for_each(|(a, b)| close(*a, *b));
    }
    close(found.class_share + found.average.iter().sum::<f32>(), 1.0);
}

#[test]
fn maps_are_the_reference_s() {
    let bytes = std::fs::read(fixture("random/two_pictures.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let expected = floats(&golden, "qformer_cross_attentions");
    let mut session = session(&fixture("random/model"));
    set(&mut session, &pictures(&golden)).unwrap();
    let maps = block_on(session.attention(PROMPT, &AttentionOptions::default(), &Pace::default()))
        .unwrap();
    let tokens = session.config().vision_config.grid().tokens();
    assert_eq!(maps.side * maps.side, tokens - 1);
    assert!(maps.difference.is_none());
    assert_eq!(maps.pictures.len(), 2);
    for (found, expected) in maps.pictures.iter().zip(expected.chunks(expected.len() / 2)) {
        assert_maps(found, expected, tokens);
    }
}

/// The fixture holds the maps alone; picture and model are the oracle's.
#[test]
#[ignore = "needs INSTRUCTBLIP_ORACLE"]
fn maps_of_a_larger_model_are_the_reference_s() {
    let oracle = std::env::var_os("INSTRUCTBLIP_ORACLE").expect("INSTRUCTBLIP_ORACLE is set");
    let oracle = PathBuf::from(oracle);
    let bytes = std::fs::read(fixture("attention/tiny_cat.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let picture = std::fs::read(oracle.join("golden/tiny_cat.safetensors")).unwrap();
    let picture = pictures(&SafeTensors::deserialize(&picture).unwrap());
    let mut session = session(&oracle.join("models/tiny"));
    set(&mut session, &picture).unwrap();
    let question = "What is unusual about this image?";
    let maps =
        block_on(session.attention(question, &AttentionOptions::default(), &Pace::default()))
            .unwrap();
    let tokens = session.config().vision_config.grid().tokens();
    assert_maps(&maps.pictures[0], &floats(&golden, "qformer_cross_attentions"), tokens);
}

#[test]
fn questions_are_compared() {
    let difference = |folder: &str, other: &str| {
        let mut session = session(&fixture(folder));
        let bytes = std::fs::read(fixture("random/two_pictures.safetensors")).unwrap();
        set(&mut session, &pictures(&SafeTensors::deserialize(&bytes).unwrap())[..1]).unwrap();
        let options = AttentionOptions { against: Some(other.into()), ..Default::default() };
        let maps = block_on(session.attention(PROMPT, &options, &Pace::default())).unwrap();
        let difference = maps.difference.unwrap().remove(0);
        let total: f32 = difference.average.iter().sum();
        assert!((total + difference.class_share).abs() < 1e-5, "both sum to 1");
        difference.average.iter().fold(0.0f32, |most, x| most.max(x.abs()))
    };
    assert_eq!(difference("random/model", PROMPT), 0.0);
    assert!(difference("random/model", "Where is the small square?") > 1e-4);
    // BLIP-2's Q-Former does not read the question.
    assert_eq!(difference("blip2/model", "Where is the small square?"), 0.0);
}

#[test]
fn looking_needs_a_picture_and_stops() {
    let mut session = session(&fixture("random/model"));
    let maps = block_on(session.attention(PROMPT, &AttentionOptions::default(), &Pace::default()));
    assert!(matches!(maps, Err(Error::PictureMissing)));
    let bytes = std::fs::read(fixture("random/two_pictures.safetensors")).unwrap();
    set(&mut session, &pictures(&SafeTensors::deserialize(&bytes).unwrap())).unwrap();
    let maps = block_on(session.attention(" ", &AttentionOptions::default(), &Pace::default()));
    assert!(matches!(maps, Err(Error::QuestionEmpty)));
    let maps =
        block_on(session.attention(PROMPT, &AttentionOptions::default(), &Pace::new(|| true)));
    assert!(matches!(maps, Err(Error::Cancelled)));
}

/// A long dialogue loses its oldest turns, as few as possible.
#[test]
fn a_dialogue_is_shortened_to_the_model_s_length() {
    let session = session(&fixture("random/model"));
    let turn =
        |i: usize| Turn { question: format!("What color is thing {i}?"), answer: "red".into() };
    let dialogue = |turns: std::ops::Range<usize>| Prompt::Dialogue {
        turns: turns.map(turn).collect(),
        question: "And the last?".into(),
    };
    let truncated = |text: &str| session.tokenizers().encode(text).unwrap().truncated;
    let filled = session.prompt(&dialogue(0..20)).unwrap();
    let dropped = filled.dropped_turns;
    assert!((1..20).contains(&dropped), "{dropped} of 20 turns dropped");
    assert_eq!(filled.text, dialogue(dropped..20).text());
    assert!(!truncated(&filled.text));
    assert!(truncated(&dialogue(dropped - 1..20).text()), "one more does not fit");
    let short = session.prompt(&dialogue(0..1)).unwrap();
    assert_eq!((short.dropped_turns, short.text), (0, dialogue(0..1).text()));
}
