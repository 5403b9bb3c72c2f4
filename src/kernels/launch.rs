//! One way to run a kernel: its WGSL on a GPU device, its plain oracle on the CPU device.
//!
//! A kernel describes itself with a [`Launch`]: shader text, buffers, parameters, grid, output
//! shape, and the function that computes the same on host memory. [`Launch::run`] looks at the
//! device of the first input and takes one of the two ways. All buffers are contiguous.
//!
//! Shaders are ordinary WGSL files with two additions, resolved by [`Shader::source`]:
//! named constants are prepended (`const LANES = 32u;`), and lines between `//#if NAME` and
//! `//#endif` (with an optional `//#else`) stay only where that flag is set. Bindings a variant
//! does not need must be cut this way: a pipeline's automatic layout drops unused bindings.
//! What is left is numbered in order of appearance, in place of `@binding(auto)`.
//! Lines between `//#for i in ROWS` and `//#end` are repeated for every i below the constant
//! ROWS, `$i` being the number: sums that must stay in registers are variables, not an array that
//! a driver may put in memory.

// The browser build has no CPU device, so only one kind of tensor is left to match.
#![cfg_attr(target_family = "wasm", allow(irrefutable_let_patterns, unreachable_patterns))]

use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind};
use burn::cubecl::CubeDim;
use burn::cubecl::prelude::{CubeCount, KernelId};
use burn::cubecl::server::{KernelArguments, MetadataBindingInfo, ServerError};
use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData};
use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::tensor::CubeTensor;

use super::record::{self, Entry};
use crate::meter::{self, Counts};

/// A WGSL file with the constants and flags that make one variant of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// The kernel's name, that of its file in `shaders/`.
    pub name: &'static str,
    /// The files' texts, concatenated in this order.
    pub parts: Vec<&'static str>,
    /// Unsigned constants put before the text.
    pub constants: Vec<(&'static str, u32)>,
    /// Flags for `//#if`.
    pub flags: Vec<&'static str>,
}

impl Shader {
    /// Gives a constant that is there another value.
    pub(super) fn set(&mut self, constant: &'static str, value: u32) {
        for (_, old) in self.constants.iter_mut().filter(|(name, _)| *name == constant) {
            *old = value;
        }
    }

    /// The WGSL text of this variant. Its entry point is `main`.
    #[must_use]
    pub fn source(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.constants {
            out.push_str(&format!("const {name}: u32 = {value}u;\n"));
        }
        let lines: Vec<String> =
            self.parts.iter().flat_map(|part| part.lines()).map(String::from).collect();
        self.expand(&lines, &mut out);
        let mut numbers = 0..;
        let pieces: Vec<&str> = out.split("@binding(auto)").collect();
        let mut source = String::from(pieces[0]);
        for (piece, number) in pieces[1..].iter().zip(&mut numbers) {
            source.push_str(&format!("@binding({number}){piece}"));
        }
        source
    }

    /// Resolves the directives.
    fn expand(&self, lines: &[String], out: &mut String) {
        // One entry a nested `//#if`: whether its lines are kept.
        let mut kept = Vec::new();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let directive = line.trim();
            at += 1;
            if let Some(flag) = directive.strip_prefix("//#if ") {
                kept.push(self.flags.contains(&flag.trim()));
            } else if directive == "//#else" {
                if let Some(last) = kept.last_mut() {
                    *last = !*last;
                }
            } else if directive == "//#endif" {
                kept.pop();
            } else if let Some(header) = directive.strip_prefix("//#for ") {
                let body = &lines[at..at + loop_length(&lines[at..])];
                at += body.len() + 1;
                if kept.iter().all(|keep| *keep) {
                    self.repeat(header, body, out);
                }
            } else if kept.iter().all(|keep| *keep) {
                out.push_str(line);
                out.push('\n');
            }
        }
    }

    /// `name in CONSTANT` and the lines that are repeated.
    fn repeat(&self, header: &str, body: &[String], out: &mut String) {
        let (name, constant) = header.split_once(" in ").unwrap_or((header, ""));
        let count = self.constants.iter().find(|(known, _)| *known == constant.trim());
        let name = format!("${}", name.trim());
        for i in 0..count.map_or(0, |(_, count)| *count) {
            let lines: Vec<String> =
                body.iter().map(|line| line.replace(&name, &i.to_string())).collect();
            self.expand(&lines, out);
        }
    }
}

/// Lines before the `//#end` that ends this loop.
fn loop_length(lines: &[String]) -> usize {
    let mut depth = 0usize;
    for (i, line) in lines.iter().enumerate() {
        match line.trim() {
            "//#end" if depth == 0 => return i,
            "//#end" => depth -= 1,
            start if start.starts_with("//#for ") => depth += 1,
            _ => {}
        }
    }
    lines.len()
}

impl KernelSource for Shader {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(Shader::source(self))
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// A tensor handed to a kernel: floats are f32, integers are 32-bit words.
#[derive(Clone, Debug)]
pub enum Arg {
    /// f32 values.
    Float(Tensor<1>),
    /// u32 or i32 words: token ids, or the raw words of packed weights.
    Words(Tensor<1, Int>),
}

impl<const D: usize> From<&Tensor<D>> for Arg {
    fn from(tensor: &Tensor<D>) -> Self {
        Self::Float(tensor.clone().reshape([-1]))
    }
}

impl<const D: usize> From<&Tensor<D, Int>> for Arg {
    fn from(tensor: &Tensor<D, Int>) -> Self {
        Self::Words(tensor.clone().reshape([-1]))
    }
}

impl Arg {
    fn device(&self) -> Device {
        match self {
            Self::Float(tensor) => tensor.device(),
            Self::Words(tensor) => tensor.device(),
        }
    }

    /// 32-bit values.
    fn len(&self) -> usize {
        match self {
            Self::Float(tensor) => tensor.dims()[0],
            Self::Words(tensor) => tensor.dims()[0],
        }
    }

    fn into_dispatch(self) -> DispatchTensor {
        match self {
            Self::Float(tensor) => tensor.into_dispatch(),
            Self::Words(tensor) => tensor.into_dispatch(),
        }
    }

    /// Host copy for the oracles; only the CPU device comes here, where reading is a copy.
    fn to_host(&self) -> Host {
        match self {
            Self::Float(tensor) => Host::Float(slice_of::<f32>(&tensor.to_data())),
            Self::Words(tensor) => {
                let data = tensor.to_data();
                Host::Words(match data.dtype() {
                    DType::U32 => slice_of::<u32>(&data),
                    DType::I32 => cast::<i32>(&data),
                    _ => cast::<i64>(&data),
                })
            }
        }
    }
}

fn slice_of<E: burn::tensor::Element>(data: &TensorData) -> Vec<E> {
    data.as_slice::<E>().map(<[E]>::to_vec).unwrap_or_default()
}

fn cast<E: burn::tensor::Element + Copy>(data: &TensorData) -> Vec<u32>
where
    i64: From<E>,
{
    slice_of::<E>(data).into_iter().map(|value| i64::from(value) as u32).collect()
}

/// Host copy of an [`Arg`], as the oracles take it.
#[derive(Clone, Debug)]
pub enum Host {
    /// f32 values.
    Float(Vec<f32>),
    /// 32-bit words.
    Words(Vec<u32>),
}

impl Host {
    /// The f32 values; empty for words.
    #[must_use]
    pub fn floats(&self) -> &[f32] {
        match self {
            Self::Float(values) => values,
            Self::Words(_) => &[],
        }
    }

    /// The words; empty for floats.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        match self {
            Self::Words(values) => values,
            Self::Float(_) => &[],
        }
    }
}

/// Everything one dispatch needs.
pub struct Launch<'a> {
    /// The shader variant.
    pub shader: Shader,
    /// Buffers, bound in this order from binding 0; the output follows, then the parameters.
    pub inputs: Vec<Arg>,
    /// Number of f32 values (or words) of the output.
    pub output: usize,
    /// The uniform `params` structure, 32-bit fields in order.
    pub params: &'a [u32],
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
    /// Runs the kernel and returns its f32 output as a flat tensor.
    #[must_use]
    pub fn run(self, oracle: impl Fn(&[Host]) -> Vec<f32>) -> Tensor<1> {
        let device = self.first_device();
        if is_gpu(&device) {
            return Tensor::from_dispatch(self.dispatch(DType::F32));
        }
        let host: Vec<Host> = self.inputs.iter().map(Arg::to_host).collect();
        let values = oracle(&host);
        Tensor::from_data(TensorData::new(values, [self.output]), &device)
    }

    /// As [`Launch::run`] for kernels whose output is words.
    #[must_use]
    pub fn run_words(self, oracle: impl Fn(&[Host]) -> Vec<u32>) -> Tensor<1, Int> {
        let device = self.first_device();
        if is_gpu(&device) {
            return Tensor::from_dispatch(self.dispatch(DType::U32));
        }
        let host: Vec<Host> = self.inputs.iter().map(Arg::to_host).collect();
        words_tensor(oracle(&host), &device)
    }

    /// Runs a kernel that writes into `target`, which takes the output's place, and returns it.
    ///
    /// The memory is changed under every clone of `target`: callers own it alone.
    #[must_use]
    pub fn run_in_place(
        self,
        target: Tensor<1>,
        oracle: impl Fn(&[Host], &mut [f32]),
    ) -> Tensor<1> {
        let device = self.first_device();
        if is_gpu(&device) {
            let DispatchTensorKind::Cube(tensor) = target.clone().into_dispatch().kind else {
                return target;
            };
            self.dispatch_to(&cube(tensor));
            return target;
        }
        let host: Vec<Host> = self.inputs.iter().map(Arg::to_host).collect();
        let mut values = slice_of::<f32>(&target.to_data());
        oracle(&host, &mut values);
        Tensor::from_data(TensorData::new(values, [self.output]), &device)
    }

    /// Bytes of the inputs.
    fn moved(&self) -> u64 {
        let words: usize = self.inputs.iter().map(Arg::len).sum();
        (words * size_of::<u32>()) as u64
    }

    /// As [`Launch::run_in_place`] for words.
    #[must_use]
    pub fn run_words_in_place(
        self,
        target: Tensor<1, Int>,
        oracle: impl Fn(&[Host], &mut [u32]),
    ) -> Tensor<1, Int> {
        let device = self.first_device();
        if is_gpu(&device) {
            let DispatchTensorKind::Cube(tensor) = target.clone().into_dispatch().kind else {
                return target;
            };
            self.dispatch_to(&cube(tensor));
            return target;
        }
        let host: Vec<Host> = self.inputs.iter().map(Arg::to_host).collect();
        let mut words = Arg::from(&target).to_host().words().to_vec();
        oracle(&host, &mut words);
        words_tensor(words, &device)
    }

    fn first_device(&self) -> Device {
        self.inputs.first().map_or_else(Device::default, Arg::device)
    }

    fn dispatch(self, dtype: DType) -> DispatchTensor {
        // `run` saw a GPU device on the first input, so the conversion cannot fail.
        let first = self.inputs.first().cloned().map(Arg::into_dispatch);
        let Some(DispatchTensorKind::Cube(first)) = first.map(|tensor| tensor.kind) else {
            unreachable!("only called for tensors on a GPU device")
        };
        let first = cube(first);
        let handle = first.client.empty(self.output.max(1) * size_of::<u32>());
        let output = CubeTensor::new_contiguous(
            first.client,
            first.device,
            Shape::new([self.output]),
            handle,
            dtype,
        );
        self.dispatch_to(&output);
        let kind = if dtype == DType::F32 {
            BackendTensor::Float(output)
        } else {
            BackendTensor::Int(output)
        };
        DispatchTensor {
            kind: DispatchTensorKind::Cube(kind),
            autodiff: DispatchAutodiffContext::Disabled,
        }
    }

    fn dispatch_to(self, output: &CubeTensor) {
        let work = Counts {
            bytes_moved: (self.moved() + output.handle.size()).saturating_sub(self.work.untouched),
            weight_bytes: self.work.weight_bytes,
            flops: self.work.flops,
            ..Counts::default()
        };
        let params = pack(self.params);
        let inputs = self.inputs.into_iter().filter_map(|input| match input.into_dispatch().kind {
            DispatchTensorKind::Cube(tensor) => Some(cube(tensor)),
            _ => None,
        });
        let entry = Entry {
            shader: self.shader,
            buffers: inputs.chain([output.clone()]).collect(),
            params: bytemuck::cast_slice(&params).to_vec(),
            grid: self.grid,
            work,
        };
        let Some(entry) = record::take(entry) else { return };
        meter::dispatched(&work);
        let mut arguments = KernelArguments::new();
        for buffer in entry.buffers {
            arguments = arguments.with_buffer(buffer.handle.binding());
        }
        if !params.is_empty() {
            arguments = arguments.with_info(MetadataBindingInfo::custom(params));
        }
        let [x, y, z] = self.grid;
        output.client.launch(
            Box::new(SourceKernel::new(entry.shader, CubeDim::new_1d(self.workgroup))),
            CubeCount::Static(x, y, z),
            arguments,
        );
    }
}

/// The tensor as the GPU's runtime knows it; `None` on the host.
pub(super) fn cube_of(words: Tensor<1, Int>) -> Option<CubeTensor> {
    match words.into_dispatch().kind {
        DispatchTensorKind::Cube(tensor) => Some(cube(tensor)),
        _ => None,
    }
}

/// What the GPU client answers once it has computed `tensor`; `None` on the host.
pub(crate) fn fence<const D: usize>(
    tensor: &Tensor<D>,
) -> Option<impl Future<Output = Result<(), ServerError>> + use<D>> {
    let DispatchTensorKind::Cube(tensor) = tensor.clone().into_dispatch().kind else {
        return None;
    };
    let tensor = cube(tensor);
    Some(tensor.client.sync_buffers([&tensor.handle]))
}

/// Whether tensors of this device live on a GPU (kernels run) or on the host (oracles run).
#[must_use]
pub fn is_gpu(device: &Device) -> bool {
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Cube(_))
}

/// A tensor of 32-bit words, such as token ids, on `device`.
#[must_use]
pub fn words_tensor(words: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    meter::submitted();
    let shape = [words.len()];
    Tensor::from_data(TensorData::new(words, shape), (device, DType::U32))
}

/// A row of f32 values on `device`.
#[must_use]
pub fn floats_tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
    meter::submitted();
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn cube(tensor: BackendTensor<burn::backend::Cube>) -> CubeTensor {
    match tensor {
        BackendTensor::Float(tensor)
        | BackendTensor::Int(tensor)
        | BackendTensor::Bool(tensor)
        | BackendTensor::Quantized(tensor) => tensor,
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

/// The first `count` words of a tensor, without a copy on a GPU.
#[must_use]
pub fn head(words: &Tensor<1, Int>, count: usize) -> Tensor<1, Int> {
    let count = count.min(words.dims()[0]);
    if let DispatchTensorKind::Cube(tensor) = words.clone().into_dispatch().kind {
        let tensor = cube(tensor);
        let head = CubeTensor::new_contiguous(
            tensor.client,
            tensor.device,
            Shape::new([count]),
            tensor.handle,
            tensor.dtype,
        );
        return Tensor::from_dispatch(DispatchTensor {
            kind: DispatchTensorKind::Cube(BackendTensor::Int(head)),
            autodiff: DispatchAutodiffContext::Disabled,
        });
    }
    words.clone().narrow(0, 0, count)
}

/// The same 32-bit words seen as f32 values, without a copy on a GPU.
#[must_use]
pub fn floats_from_words(words: Tensor<1, Int>) -> Tensor<1> {
    let device = words.device();
    if is_gpu(&device)
        && let DispatchTensorKind::Cube(tensor) = words.clone().into_dispatch().kind
    {
        let mut tensor = cube(tensor);
        tensor.dtype = DType::F32;
        return Tensor::from_dispatch(DispatchTensor {
            kind: DispatchTensorKind::Cube(BackendTensor::Float(tensor)),
            autodiff: DispatchAutodiffContext::Disabled,
        });
    }
    let values: Vec<f32> =
        Arg::from(&words).to_host().words().iter().map(|word| f32::from_bits(*word)).collect();
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), &device)
}
