// Matrix-matrix product for many rows of x:
// out[m, n] = act(x[m, :] . w[n, :] + bias[n]) + residual[m, n].
//
// A workgroup of 16 x 16 invocations makes a tile of 16 * TILE_M rows by 64 columns. Tiles of x
// and of dequantised w, 32 columns deep, pass through workgroup memory; every invocation keeps
// TILE_M x 4 sums in registers. Needs weight8() of shaders/weights and activate().
// Constants: TILE_M 2 or 4, ACTIVATION. Flags: BIAS, RESIDUAL.
struct Params { m: u32, n: u32, k: u32 }

@group(0) @binding(auto) var<storage, read_write> x: array<f32>;
//#if BIAS
@group(0) @binding(auto) var<storage, read_write> bias: array<f32>;
//#endif
//#if RESIDUAL
@group(0) @binding(auto) var<storage, read_write> residual: array<f32>;
//#endif
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

const DEPTH: u32 = 32u;
const ROWS: u32 = 16u * TILE_M;
const COLUMNS: u32 = 64u;

// Both [depth, row or column]: at most 8 KiB each.
var<workgroup> tile_x: array<f32, DEPTH * ROWS>;
var<workgroup> tile_w: array<f32, DEPTH * COLUMNS>;

@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let k = params.k;
    let first_m = id.y * ROWS;
    let first_n = id.x * COLUMNS;
    let column = (local % 16u) * 4u;
    let row = (local / 16u) * TILE_M;
    var sums: array<vec4<f32>, TILE_M>;

    for (var depth = 0u; depth < k; depth += DEPTH) {
        // x: each invocation copies TILE_M * 2 values, neighbours along k.
        for (var i = local; i < DEPTH * ROWS; i += 256u) {
            let m = first_m + i / DEPTH;
            let at = depth + i % DEPTH;
            var value = 0.0;
            if (m < params.m && at < k) { value = x[m * k + at]; }
            tile_x[(i % DEPTH) * ROWS + i / DEPTH] = value;
        }
        // w: 64 columns of four groups of eight, one for each invocation.
        let n = local / 4u;
        let part = local % 4u;
        var w = array<vec4<f32>, 2>();
        if (first_n + n < params.n && depth + part * 8u < k) {
            w = weight8(first_n + n, depth / 8u + part, k);
        }
        for (var i = 0u; i < 4u; i++) {
            tile_w[(part * 8u + i) * COLUMNS + n] = w[0][i];
            tile_w[(part * 8u + 4u + i) * COLUMNS + n] = w[1][i];
        }
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {
            let at = d * COLUMNS + column;
            let b = vec4<f32>(tile_w[at], tile_w[at + 1u], tile_w[at + 2u], tile_w[at + 3u]);
            for (var i = 0u; i < TILE_M; i++) {
                sums[i] += tile_x[d * ROWS + row + i] * b;
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < TILE_M; i++) {
        let m = first_m + row + i;
        for (var j = 0u; j < 4u; j++) {
            let n = first_n + column + j;
            if (m < params.m && n < params.n) {
                var value = sums[i][j];
//#if BIAS
                value += bias[n];
//#endif
                value = activate(value);
//#if RESIDUAL
                value += residual[m * params.n + n];
//#endif
                out[m * params.n + n] = value;
            }
        }
    }
}
