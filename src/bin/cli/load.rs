//! Loads a model folder (Hugging Face or shard set) onto a device.

use std::path::Path;

use burn::tensor::Device;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use instructblip_web::Result;
use instructblip_web::checkpoint::Folder;
use instructblip_web::session::Session;

/// Where the model runs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DeviceName {
    /// The GPU, through wgpu.
    Wgpu,
    /// Plain loops on the CPU: slow, for comparison.
    Cpu,
}

impl DeviceName {
    /// Opens the device.
    ///
    /// # Errors
    /// There is no GPU adapter.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Wgpu => instructblip_web::gpu::open(),
        }
    }
}

/// Reads all files of the folder and builds the session, with a progress bar on stderr.
///
/// # Errors
/// A file is missing, damaged, or does not fit the others.
pub fn session(folder: &Path, device: &Device) -> Result<Session> {
    let folder = Folder::open(folder)?;
    let style = ProgressStyle::with_template(
        "loading {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    );
    let bar = ProgressBar::new(folder.tensors().map(|tensor| tensor.byte_len() as u64).sum())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let session = Session::open(&folder, device, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    session
}
