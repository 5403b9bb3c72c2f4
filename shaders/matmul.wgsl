// Matrix-matrix product for many rows of x:
// out[m, n] = act(x[m, :] . w[n, :] + bias[n]) + residual[m, n].
//
// A workgroup makes a tile of 8 * THREAD_ROWS rows by 64 columns. DEPTH columns of x and of the
// dequantised w at a time pass through workgroup memory; an invocation keeps 8 x 8 sums in
// registers, as four matrices, and spends 16 loads on 64 * 4 multiply-adds. SLICES invocations
// share each such block, each taking its part of every DEPTH, so that a product with few rows
// still fills the GPU without a second pass; they add up in workgroup memory at the end.
// Nothing here is a loop over an array of sums, which not every compiler keeps in registers.
// Needs weight8() of shaders/weights, activate() and multiply_add() of shaders/parts.
// Constants: THREAD_ROWS, SLICES, DEPTH (a multiple of 8 and of 4 * SLICES).
// Flags: BIAS, RESIDUAL; VECTORS where k is a multiple of 4, so that x is read four at a time.
struct Params { m: u32, n: u32, k: u32 }

//#if VECTORS
@group(0) @binding(auto) var<storage, read_write> x: array<vec4<f32>>;
//#else
@group(0) @binding(auto) var<storage, read_write> x: array<f32>;
//#endif
//#if BIAS
@group(0) @binding(auto) var<storage, read_write> bias: array<f32>;
//#endif
//#if RESIDUAL
@group(0) @binding(auto) var<storage, read_write> residual: array<f32>;
//#endif
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

const THREAD_COLUMNS: u32 = 8u;
const THREADS: u32 = THREAD_ROWS * THREAD_COLUMNS;
const WORKGROUP: u32 = THREADS * SLICES;
const ROWS: u32 = 8u * THREAD_ROWS;
const COLUMNS: u32 = 8u * THREAD_COLUMNS;
// Four values along k are the unit of both tiles.
const QUADS: u32 = DEPTH / 4u;
const SLICE_QUADS: u32 = QUADS / SLICES;
const TILE_W: u32 = QUADS * ROWS;

// x as [quad, row], from TILE_W on w as [quad, column % 4, column / 4], so that neighbours read
// neighbours; in the end the sums of all slices, a matrix of each invocation at a time.
var<workgroup> tile: array<vec4<f32>, max(QUADS * (ROWS + COLUMNS), 4u * WORKGROUP)>;

// x[m, at..at + 4], zero beyond k.
fn x4(m: u32, at: u32) -> vec4<f32> {
//#if VECTORS
    return x[(m * params.k + at) / 4u];
//#else
    var value = vec4<f32>();
    for (var i = 0u; i < min(4u, params.k - at); i++) { value[i] = x[m * params.k + at + i]; }
    return value;
//#endif
}

fn tile4(at: u32, stride: u32) -> mat4x4<f32> {
    return mat4x4<f32>(tile[at], tile[at + stride], tile[at + 2u * stride], tile[at + 3u * stride]);
}

// Four columns of row m of the product, from column n on.
fn write4(m: u32, n: u32, sums: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        if (m < params.m && n + j < params.n) {
            let at = m * params.n + n + j;
            var value = sums[j];
//#if BIAS
            value += bias[n + j];
//#endif
            value = activate(value);
//#if RESIDUAL
            value += residual[at];
//#endif
            out[at] = value;
        }
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let first_m = id.y * ROWS;
    let first_n = id.x * COLUMNS;
    let slice = local / THREADS;
    let thread = local % THREADS;
    let row = thread / THREAD_COLUMNS * 8u;
    let column = thread % THREAD_COLUMNS;
    // Rows beyond m need no sums.
    let first_quad = slice * SLICE_QUADS;
    let end_quad = select(first_quad, first_quad + SLICE_QUADS, first_m + row < params.m);
    // Rows 0-3 and 4-7 by four columns from 4 * column, and by four further to the right.
    var top_left = mat4x4<f32>();
    var top_right = mat4x4<f32>();
    var low_left = mat4x4<f32>();
    var low_right = mat4x4<f32>();

    for (var depth = 0u; depth < params.k; depth += DEPTH) {
        for (var i = local; i < ROWS * QUADS; i += WORKGROUP) {
            let m = first_m + i / QUADS;
            let at = depth + i % QUADS * 4u;
            var value = vec4<f32>();
            if (m < params.m && at < params.k) { value = x4(m, at); }
            tile[i % QUADS * ROWS + i / QUADS] = value;
        }
        for (var i = local; i < COLUMNS * QUADS / 2u; i += WORKGROUP) {
            let n = i / (QUADS / 2u);
            let part = i % (QUADS / 2u);
            var w = array<vec4<f32>, 2>();
            if (first_n + n < params.n && depth + part * 8u < params.k) {
                w = weight8(first_n + n, depth / 8u + part, params.k);
            }
            let at = TILE_W + part * 2u * COLUMNS + n % 4u * (COLUMNS / 4u) + n / 4u;
            tile[at] = w[0];
            tile[at + COLUMNS] = w[1];
        }
        workgroupBarrier();
        for (var quad = first_quad; quad < end_quad; quad++) {
            let at = TILE_W + quad * COLUMNS + column;
            let left = transpose(tile4(at, COLUMNS / 4u));
            let right = transpose(tile4(at + THREAD_COLUMNS, COLUMNS / 4u));
            let top = tile4(quad * ROWS + row, 1u);
            let low = tile4(quad * ROWS + row + 4u, 1u);
            top_left = multiply_add(top_left, top, left);
            top_right = multiply_add(top_right, top, right);
            low_left = multiply_add(low_left, low, left);
            low_right = multiply_add(low_right, low, right);
        }
        workgroupBarrier();
    }

    var sums = array<mat4x4<f32>, 4>(top_left, top_right, low_left, low_right);
    for (var part = 0u; part < 4u; part++) {
        if (SLICES > 1u) {
            for (var i = 0u; i < 4u; i++) { tile[i * WORKGROUP + local] = sums[part][i]; }
            workgroupBarrier();
        }
        for (var i = slice; i < 4u; i += SLICES) {
            var sum = sums[part][i];
            for (var s = 1u; s < SLICES; s++) {
                sum += tile[i * WORKGROUP + (local + s * THREADS) % WORKGROUP];
            }
            let n = first_n + 4u * (column + THREAD_COLUMNS * (part % 2u));
            write4(first_m + row + 4u * (part / 2u) + i, n, sum);
        }
        if (SLICES > 1u) { workgroupBarrier(); }
    }
}
