//! The product with few rows of x and what is fused with it: `shaders/matvec.wgsl`.

use burn::tensor::{Int, Tensor};

use super::activation::Activation;
use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid, kernel};
use super::matrix::Matrix;
use super::product::{Epilogue, Norm, finish, product};
use crate::quant::Format;

/// Rows of x up to which this kernel is used: as many as texts are decoded at once.
pub const MATVEC_ROWS: usize = 10;

kernel! {
    name: "matvec",
    parts: ["activation"],
    params: { m: u32, n: u32, k: u32, capacity: u32, column: u32, epsilon: f32 },
    variants: variants,
}

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;
/// Rows of w that an invocation works on.
const TILE: u32 = 4;

/// One dispatch.
#[derive(Clone, Copy)]
pub(super) struct Matvec<'a> {
    pub(super) x: &'a Tensor<3>,
    pub(super) weight: &'a Matrix,
    pub(super) norm: Option<Norm<'a>>,
    pub(super) epilogue: Epilogue<'a>,
    pub(super) role: Role<'a>,
}

/// What a second matrix is for.
#[derive(Clone, Copy)]
pub(super) enum Role<'a> {
    /// There is none.
    Plain,
    /// Its product multiplies the activated one.
    Gate(&'a Matrix),
    /// Both make something of the token at `position`, which goes into the cache from `column` on.
    Cache {
        second: Option<&'a Matrix>,
        position: &'a Tensor<1, Int>,
        capacity: usize,
        column: usize,
    },
}

impl<'a> Matvec<'a> {
    pub(super) fn new(x: &'a Tensor<3>, weight: &'a Matrix, epilogue: Epilogue<'a>) -> Self {
        assert_eq!(x.dims()[2], weight.k(), "input features");
        Self { x, weight, norm: None, epilogue, role: Role::Plain }
    }

    pub(super) fn run(self) -> Tensor<3> {
        let [batch, rows, _] = self.x.dims();
        let (variant, params) = (self.variant(), self.params());
        let launch = self.launch(&variant, &params);
        launch.run(|host| variant.oracle(host, &params)).reshape([batch, rows, self.weight.n()])
    }

    pub(super) fn run_in_place(self, cache: Tensor<3>) -> Tensor<3> {
        let shape = cache.dims();
        let (variant, params) = (self.variant(), self.params());
        let mut launch = self.launch(&variant, &params);
        launch.output = shape.iter().product();
        // Of the cache one row a text is written.
        let matrices = 1 + usize::from(self.second().is_some());
        let touched = matrices * (params.m * params.n) as usize * size_of::<f32>();
        launch.work.untouched = (launch.output * size_of::<f32>() - touched) as u64;
        launch
            .run_in_place(cache.reshape([-1]), |host, cache| {
                variant.cache_oracle(host, &params, cache);
            })
            .reshape(shape)
    }

    fn second(&self) -> Option<&'a Matrix> {
        match self.role {
            Role::Plain => None,
            Role::Gate(matrix) => Some(matrix),
            Role::Cache { second, .. } => second,
        }
    }

    fn params(&self) -> Params {
        let [batch, rows, k] = self.x.dims();
        let (capacity, column) = match self.role {
            Role::Cache { capacity, column, .. } => (capacity, column),
            _ => (0, 0),
        };
        Params {
            m: (batch * rows) as u32,
            n: self.weight.n() as u32,
            k: k as u32,
            capacity: capacity as u32,
            column: column as u32,
            epsilon: self.norm.map_or(0.0, |norm| norm.epsilon),
        }
    }

    fn variant(&self) -> Variant {
        Variant {
            format: self.weight.format(),
            activation: self.epilogue.activation,
            norm: self.norm.is_some(),
            bias: self.epilogue.bias.is_some(),
            residual: self.epilogue.residual.is_some(),
            matrices: 1 + usize::from(self.second().is_some()),
            role: match self.role {
                Role::Plain => None,
                Role::Gate(_) => Some("GATE"),
                Role::Cache { .. } => Some("CACHE"),
            },
        }
    }

    fn launch<'p>(&self, variant: &Variant, params: &'p Params) -> Launch<'p> {
        let mut inputs = self.weight.args();
        inputs.extend(self.second().into_iter().flat_map(Matrix::args));
        inputs.push(Arg::from(self.x));
        inputs.extend(self.norm.map(|norm| Arg::from(norm.gain)));
        inputs.extend(self.epilogue.bias.map(Arg::from));
        inputs.extend(self.epilogue.residual.map(Arg::from));
        if let Role::Cache { position, .. } = self.role {
            inputs.push(Arg::from(position));
        }
        let [m, n, k] = [params.m, params.n, params.k].map(|size| size as usize);
        let weights = [Some(self.weight), self.second()].into_iter().flatten();
        let matrices = variant.matrices as u64;
        Launch {
            shader: variant.shader(m as u32, k),
            inputs,
            output: m * n,
            params,
            workgroup: WORKGROUP,
            grid: fold_grid(n.div_ceil((WORKGROUP / lanes(k) * TILE) as usize)),
            work: Work {
                flops: 2 * matrices * (m * n * k) as u64,
                weight_bytes: weights.map(Matrix::byte_len).sum(),
                untouched: 0,
            },
        }
    }
}

/// Invocations that share rows: one for every eight columns, a power of two up to 32; at least
/// one for every row, since each of them finishes one.
fn lanes(k: usize) -> u32 {
    (k.div_ceil(8).next_power_of_two() as u32).clamp(TILE, 32)
}

#[derive(Clone, Copy)]
struct Variant {
    format: Format,
    activation: Option<Activation>,
    norm: bool,
    bias: bool,
    residual: bool,
    matrices: usize,
    role: Option<&'static str>,
}

impl Variant {
    fn plain(format: Format) -> Self {
        Self {
            format,
            activation: None,
            norm: false,
            bias: false,
            residual: false,
            matrices: 1,
            role: None,
        }
    }

    fn shader(&self, rows: u32, k: usize) -> Shader {
        let mut shader = Matrix::shader(KERNEL.name, self.format);
        shader.parts.push(Activation::wgsl(self.activation));
        shader.parts.extend(KERNEL.parts);
        shader.set("MATRICES", self.matrices as u32);
        shader.constants.extend([
            ("ROWS", rows),
            ("LANES", lanes(k)),
            ("WORKGROUP", WORKGROUP),
            ("TILE", TILE),
        ]);
        let flags = [
            ("VECTOR", k.is_multiple_of(8)),
            ("NORM", self.norm),
            ("BIAS", self.bias),
            ("RESIDUAL", self.residual),
        ];
        shader.flags.extend(flags.into_iter().filter_map(|(flag, on)| on.then_some(flag)));
        shader.flags.extend(self.role);
        shader
    }

    /// The products with both matrices of x, normed first, in f64; and the other inputs.
    fn products<'h>(&self, host: &'h [Host], params: &Params) -> (Vec<Vec<f64>>, &'h [Host]) {
        let (n, k) = (params.n as usize, params.k as usize);
        let args = Matrix::arg_count(self.format);
        let (weights, rest) = host.split_at(args * self.matrices);
        let (gain, others) = if self.norm { (Some(rest[1].floats()), 2) } else { (None, 1) };
        let mut x: Vec<f64> = rest[0].floats().iter().map(|x| f64::from(*x)).collect();
        if let Some(gain) = gain {
            for row in x.chunks_mut(k) {
                let square = row.iter().map(|x| x * x).sum::<f64>() / k as f64;
                let scale = (square + f64::from(params.epsilon)).sqrt().recip();
                row.iter_mut().zip(gain).for_each(|(x, gain)| *x *= scale * f64::from(*gain));
            }
        }
        let of = |weights| product(&x, &Matrix::unpack(weights, self.format, n, k), k);
        (weights.chunks(args).map(of).collect(), &rest[others..])
    }

    /// Plain loops.
    fn oracle(&self, host: &[Host], params: &Params) -> Vec<f32> {
        let (products, rest) = self.products(host, params);
        let mut rest = rest.iter().map(Host::floats);
        let added = [self.bias, self.residual].map(|there| there.then(|| rest.next()).flatten());
        finish(&products[0], params.n as usize, self.activation, added, products.get(1))
    }

    fn cache_oracle(&self, host: &[Host], params: &Params, cache: &mut [f32]) {
        let [n, capacity, column] =
            [params.n, params.capacity, params.column].map(|size| size as usize);
        let (products, rest) = self.products(host, params);
        let position = rest[0].words()[0] as usize;
        for (w, product) in products.iter().enumerate() {
            for (row, values) in product.chunks(n).enumerate() {
                let at = (row * capacity + position) * 2 * n + column + w * n;
                let values = values.iter().map(|value| *value as f32);
                cache[at..at + n].iter_mut().zip(values).for_each(|(old, new)| *old = new);
            }
        }
    }
}

fn variants() -> Vec<Shader> {
    let mut shaders = Vec::new();
    for format in Format::ALL {
        let plain = Variant { activation: Some(Activation::Gelu), ..Variant::plain(format) };
        let variants = [
            plain,
            Variant { bias: true, residual: true, ..plain },
            Variant { norm: true, ..plain },
            Variant { norm: true, role: Some("GATE"), matrices: 2, ..plain },
            Variant { norm: true, role: Some("CACHE"), activation: None, matrices: 2, ..plain },
            Variant { norm: true, role: Some("CACHE"), activation: None, ..plain },
        ];
        // A packed row is a multiple of 32 wide; others may end anywhere.
        let widths: &[usize] = if format.is_packed() { &[96] } else { &[96, 100] };
        for variant in variants {
            for rows in [1, 3, MATVEC_ROWS as u32] {
                shaders.extend(widths.iter().map(|k| variant.shader(rows, *k)));
            }
        }
    }
    shaders
}
