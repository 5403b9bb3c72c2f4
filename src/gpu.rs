//! The GPU device: opened once a process (in a browser, once a worker), with its raw handles
//! beside Burn's, for what Burn has no word for: replaying a recorded sequence of kernels.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use burn_wgpu::WgpuSetup;

static OPEN: OnceLock<Gpu> = OnceLock::new();
static SOFTWARE: AtomicBool = AtomicBool::new(false);

/// Burn's device and what it is made of.
#[derive(Debug)]
pub struct Gpu {
    /// What tensors are made on.
    pub device: Device,
    /// The adapter it was opened on.
    pub adapter: wgpu::Adapter,
    /// The same device, raw.
    pub raw: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
}

/// What was submitted up to a moment.
#[derive(Debug)]
pub struct Submitted<'a> {
    gpu: &'a Gpu,
    end: async_channel::Receiver<()>,
}

impl Gpu {
    /// What was submitted so far, to wait for later.
    #[must_use]
    pub fn submitted(&self) -> Submitted<'_> {
        let (sender, end) = async_channel::bounded(1);
        self.queue.on_submitted_work_done(move || {
            // Fails where nobody waits any more.
            let _ = sender.try_send(());
        });
        Submitted { gpu: self, end }
    }
}

impl Submitted<'_> {
    /// Waits until the GPU has done it.
    ///
    /// # Errors
    /// The GPU failed.
    pub async fn done(self) -> crate::Result<()> {
        let failed = |reason: String| crate::Error::Gpu { reason };
        // A browser calls back by itself and ignores this; elsewhere it waits.
        let wait = wgpu::PollType::wait_indefinitely();
        self.gpu.raw.poll(wait).map_err(|error| failed(error.to_string()))?;
        self.end.recv().await.map_err(|error| failed(error.to_string()))
    }
}

/// The open device, if it was opened here.
#[must_use]
pub fn open_device() -> Option<&'static Gpu> {
    OPEN.get()
}

/// Keeps what Burn opened. A second device is not kept: there is one a process.
pub fn adopt(device: &Device, setup: WgpuSetup) -> &'static Gpu {
    OPEN.get_or_init(|| {
        treat_as_software(setup.adapter.get_info().device_type == wgpu::DeviceType::Cpu);
        Gpu {
            device: device.clone(),
            adapter: setup.adapter,
            raw: setup.device,
            queue: setup.queue,
        }
    })
}

/// Whether the adapter computes on the processor: more invocations are no faster there.
#[must_use]
pub fn is_software() -> bool {
    SOFTWARE.load(Ordering::Relaxed)
}

/// Chooses kernels as for such an adapter, or as for a GPU, whatever there is: lets one machine
/// test both.
pub fn treat_as_software(software: bool) {
    SOFTWARE.store(software, Ordering::Relaxed);
}

/// Opens the default adapter; the second call returns the same device.
///
/// # Errors
/// There is no adapter, or it refuses a device.
#[cfg(not(target_family = "wasm"))]
pub fn open() -> crate::Result<Device> {
    use burn::tensor::DeviceKind;

    static OPENING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = OPENING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(gpu) = open_device() {
        return Ok(gpu.device.clone());
    }
    let (device, setup) = Device::wgpu_options()
        .device_kind(DeviceKind::DefaultDevice)
        .init_with_setup()
        .map_err(|error| crate::Error::AdapterMissing { reason: error.to_string() })?;
    Ok(adopt(&device, setup).device.clone())
}
