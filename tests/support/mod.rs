//! Models on the GPU with a picture before them, as several tests need them.
#![allow(dead_code, reason = "no test needs all of it")]

use std::path::Path;

use burn::tensor::Device;
use instructblip_web::checkpoint::Folder;
use instructblip_web::image;
use instructblip_web::models::language::Context;
use instructblip_web::models::unheard;
use instructblip_web::pace::Pace;
use instructblip_web::session::Session;

pub const PICTURE: &str = "www/examples/crowd.png";
pub const QUESTION: &str = "Describe the image in detail.";

pub fn gpu() -> Device {
    static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
    let adapter = "a wgpu adapter (on Debian: mesa-vulkan-drivers)";
    DEVICE.get_or_init(|| instructblip_web::gpu::open().expect(adapter)).clone()
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A model looking at [`PICTURE`]: the trained pocket one, or the random one, which never tires.
pub fn session(model: &str) -> Session {
    let folder = Folder::open(root().join(model)).unwrap();
    let mut session = Session::open(&folder, &gpu(), |_| ()).unwrap();
    let picture = std::fs::read(root().join(PICTURE)).unwrap();
    pollster::block_on(session.set_picture(&picture, &Pace::default())).unwrap();
    session
}

pub fn pocket() -> Session {
    session("www/pocket")
}

pub fn random() -> Session {
    session("tests/fixtures/random/model")
}

/// [`QUESTION`] about [`PICTURE`], read.
pub fn context(session: &Session) -> Context {
    let rgb = image::decode(&std::fs::read(root().join(PICTURE)).unwrap()).unwrap();
    let pixels = image::preprocess(&rgb, session.preprocessor());
    let (model, pace) = (session.model().unwrap(), Pace::default());
    let ids = session.tokenizers().encode(QUESTION).unwrap();
    pollster::block_on(async {
        let picture = model.see(&pixels, session.device(), &pace).await.unwrap();
        let queries = model.look(&[&picture], &ids.qformer.0, &pace, &mut unheard).await.unwrap();
        model.read(&queries, &ids.language.0, &pace, &mut unheard).await.unwrap()
    })
}
