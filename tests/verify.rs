//! The whole model against recorded outputs of the reference implementation.
//!
//! The fixtures in the repository are a tiny random checkpoint with odd sizes (tools/make_fixture.py)
//! and the pocket model; with INSTRUCTBLIP_ORACLE set, the larger oracle's models and goldens too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use instructblip_web::checkpoint::Folder;
use instructblip_web::convert::{ConvertOptions, convert};
use instructblip_web::quant::Format;
use instructblip_web::session::Session;
use instructblip_web::verify::{Golden, VerifyOptions, verify};

fn gpu() -> Device {
    static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
    let adapter = "a wgpu adapter (on Debian: mesa-vulkan-drivers)";
    DEVICE.get_or_init(|| instructblip_web::gpu::open().expect(adapter)).clone()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn session(folder: &Path, device: &Device) -> Session {
    Session::open(&Folder::open(folder).unwrap(), device, |_| ()).unwrap()
}

fn assert_equal(session: &Session, golden: &Path) {
    let name = golden.file_name().unwrap().to_string_lossy();
    let golden = Golden::parse(&name, std::fs::read(golden).unwrap()).unwrap();
    let report = pollster::block_on(verify(session, &golden, &VerifyOptions::default())).unwrap();
    assert!(report.ok, "{report:#?}");
    let pixels = &report.stages[0];
    assert!(pixels.max_absolute == 0.0, "pixel_values are bit-equal to PIL's: {pixels:?}");
}

fn converted(source: &Path, format: Format) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    let options = ConvertOptions::new(format);
    convert(source, &out.path().join("set"), &options, &mut |_| ControlFlow::Continue(())).unwrap();
    out
}

#[test]
fn random_checkpoint_on_the_gpu() {
    assert_equal(
        &session(&fixture("random/model"), &gpu()),
        &fixture("random/checkpoint.safetensors"),
    );
}

#[test]
fn random_checkpoint_on_the_cpu() {
    assert_equal(
        &session(&fixture("random/model"), &Device::flex()),
        &fixture("random/checkpoint.safetensors"),
    );
}

/// Queries of both pictures before the text, against the reference fed with the same.
#[test]
fn two_pictures_equal_the_reference() {
    let golden = fixture("random/two_pictures.safetensors");
    assert_equal(&session(&fixture("random/model"), &gpu()), &golden);
    assert_equal(&session(&fixture("random/model"), &Device::flex()), &golden);
}

/// BLIP-2's Q-Former has no text branch; all else is the same code.
#[test]
fn blip_2_equals_the_reference() {
    let golden = fixture("blip2/checkpoint.safetensors");
    assert_equal(&session(&fixture("blip2/model"), &gpu()), &golden);
    assert_equal(&session(&fixture("blip2/model"), &Device::flex()), &golden);
    let set = converted(&fixture("blip2/model"), Format::F32);
    assert_equal(&session(&set.path().join("set"), &gpu()), &golden);
}

/// Our answer on the packed weights is the reference's on the same weights written back.
#[test]
fn packed_sets_equal_the_reference_on_their_exports() {
    for (format, golden) in [(Format::Q4, "q4"), (Format::Q8, "q8")] {
        let set = converted(&fixture("random/model"), format);
        let golden = fixture(&format!("random/{golden}.safetensors"));
        assert_equal(&session(&set.path().join("set"), &gpu()), &golden);
    }
}

/// A conversion to f32 loses nothing: the checkpoint's own golden holds.
#[test]
fn f32_set_equals_the_checkpoint() {
    let set = converted(&fixture("random/model"), Format::F32);
    assert_equal(
        &session(&set.path().join("set"), &gpu()),
        &fixture("random/checkpoint.safetensors"),
    );
}

/// The comparison can fail: another model's golden breaks it.
#[test]
fn a_wrong_model_is_noticed() {
    let session = session(&fixture("random/model"), &gpu());
    let bytes = std::fs::read(fixture("random/q4.safetensors")).unwrap();
    let golden = Golden::parse("q4", bytes).unwrap();
    let report = pollster::block_on(verify(&session, &golden, &VerifyOptions::default())).unwrap();
    assert!(!report.ok);
}

#[test]
#[ignore = "needs INSTRUCTBLIP_ORACLE"]
fn oracle_goldens() {
    let oracle = std::env::var_os("INSTRUCTBLIP_ORACLE").expect("INSTRUCTBLIP_ORACLE is set");
    let oracle = PathBuf::from(oracle);
    for (model, goldens) in [
        ("nano", &["nano_cat", "nano_coffee"][..]),
        ("nano_sharded", &["nano_cat", "nano_coffee"]),
        ("nano_eos", &["nanoeos_cat", "nanoeos_astro", "nanoeos_coffee"]),
        ("tiny", &["tiny_cat", "tiny_astronaut"]),
    ] {
        let session = session(&oracle.join("models").join(model), &gpu());
        for golden in goldens {
            assert_equal(&session, &oracle.join("golden").join(format!("{golden}.safetensors")));
        }
    }
}
