//! One way to run a kernel: its WGSL on a GPU device, its plain oracle on the CPU device.
//!
//! A kernel describes itself with a [`Launch`]: shader, buffers, parameters, grid, size of the
//! output. [`Launch::run`] is also given the function that computes the same on host memory, looks
//! at the device of the first input and takes one of the two ways.

use burn::cubecl::CubeDim;
use burn::cubecl::prelude::CubeCount;
use burn::cubecl::server::{KernelArguments, MetadataBindingInfo};
use burn::tensor::{Device, Shape, Tensor};
use burn_cubecl::template::SourceKernel;
use burn_cubecl::tensor::CubeTensor;

use super::census;
use super::record::{self, Entry};
pub(super) use super::shader::kernel;
pub use super::shader::{Parameters, Shader};
pub use super::tensors::{Arg, Host, floats_from_words};
use super::tensors::{Value, cube_of, from_cube, from_host};
use crate::meter::{self, Counts};

/// Everything one dispatch needs.
pub struct Launch<'a> {
    /// The shader variant.
    pub shader: Shader,
    /// Buffers, bound in this order from binding 0; the output follows, then the parameters.
    pub inputs: Vec<Arg>,
    /// Number of f32 values (or words) of the output.
    pub output: usize,
    /// The uniform `params`.
    pub params: &'a dyn Parameters,
    /// Invocations a workgroup, at most 256 (the WebGPU default limit).
    pub workgroup: u32,
    /// Workgroups in x, y, z; each at most 65,535.
    pub grid: [u32; 3],
    /// What it does, for the meter.
    pub work: Work,
}

/// The work of a dispatch. Bytes moved are those of all its buffers, but for `untouched`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Floating-point operations, a multiply-add being two; products and attention only.
    pub flops: u64,
    /// Bytes of the model's matrices among those read.
    pub weight_bytes: u64,
    /// Bytes of the bound buffers that are neither read nor written.
    pub untouched: u64,
}

impl Launch<'_> {
    /// Runs the kernel and returns its output, f32 values or words, as a flat tensor.
    #[must_use]
    pub fn run<V: Value>(self, oracle: impl Fn(&[Host]) -> Vec<V>) -> Tensor<1, V::Kind> {
        let Some(first) = self.inputs.first().cloned().and_then(Arg::cube) else {
            let device = self.inputs.first().map_or_else(Device::default, Arg::device);
            return from_host(oracle(&self.host()), &device);
        };
        let handle = first.client.empty(self.output.max(1) * size_of::<u32>());
        let shape = Shape::new([self.output]);
        let output =
            CubeTensor::new_contiguous(first.client, first.device, shape, handle, V::DTYPE);
        self.dispatch(&output, false);
        from_cube::<V>(output)
    }

    /// Runs a kernel that writes into `target`, which takes the output's place, and returns it.
    ///
    /// The memory is changed under every clone of `target`: callers own it alone.
    #[must_use]
    pub fn run_in_place<V: Value>(
        self,
        target: Tensor<1, V::Kind>,
        oracle: impl Fn(&[Host], &mut [V]),
    ) -> Tensor<1, V::Kind> {
        if let Some(output) = cube_of(target.clone()) {
            self.dispatch(&output, true);
            return target;
        }
        let mut values = V::to_host(&target);
        oracle(&self.host(), &mut values);
        from_host(values, &target.device())
    }

    fn host(&self) -> Vec<Host> {
        self.inputs.iter().map(Arg::to_host).collect()
    }

    /// Launches the kernel, or writes it down. With `in_place` the output holds something before.
    fn dispatch(self, output: &CubeTensor, in_place: bool) {
        let words: usize = self.inputs.iter().map(Arg::len).sum();
        let moved = (words * size_of::<u32>()) as u64 + output.handle.size();
        let work = Counts {
            bytes_moved: moved.saturating_sub(self.work.untouched),
            weight_bytes: self.work.weight_bytes,
            flops: self.work.flops,
            ..Counts::default()
        };
        let inputs = self.inputs.into_iter().filter_map(Arg::cube);
        let entry = Entry {
            shader: self.shader,
            buffers: inputs.chain([output.clone()]).collect(),
            in_place,
            params: pack(self.params.words()),
            grid: self.grid,
            work,
        };
        let Some(entry) = record::take(entry) else { return };
        if !census::launched(&entry.shader) {
            return;
        }
        meter::dispatched(&work);
        let mut arguments = KernelArguments::new();
        for buffer in entry.buffers {
            arguments = arguments.with_buffer(buffer.handle.binding());
        }
        let arguments = arguments.with_info(MetadataBindingInfo::custom(entry.params));
        let [x, y, z] = self.grid;
        output.client.launch(
            Box::new(SourceKernel::new(entry.shader, CubeDim::new_1d(self.workgroup))),
            CubeCount::Static(x, y, z),
            arguments,
        );
    }
}

/// Packs 32-bit parameters into the 64-bit words of the uniform, padded to 16 bytes.
fn pack(params: &[u32]) -> Vec<u64> {
    let mut words: Vec<u64> = params
        .chunks(2)
        .map(|pair| u64::from(pair[0]) | (u64::from(*pair.get(1).unwrap_or(&0)) << 32))
        .collect();
    if words.len() % 2 == 1 {
        words.push(0);
    }
    words
}

/// A one-dimensional number of workgroups folded into x and y, since each is at most 65,535.
///
/// Shaders read it back as `id.x + id.y * num_workgroups.x` and must check the bound.
#[must_use]
pub fn fold_grid(workgroups: usize) -> [u32; 3] {
    const LIMIT: usize = 65_535;
    let y = workgroups.div_ceil(LIMIT).max(1);
    let x = workgroups.div_ceil(y).max(1);
    [x as u32, y as u32, 1]
}
