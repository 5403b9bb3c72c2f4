// Matrix-vector product for few rows of x:
// out[m, n] = act(x[m, :] . w[n, :] + bias[n]) + residual[m, n], m < ROWS.
//
// LANES invocations share one row of w, each taking eight columns at a time; their partial sums
// meet in workgroup memory. Needs weight8() of shaders/weights and activate().
// Constants: ROWS 1..8, LANES a power of two, WORKGROUP, ACTIVATION. Flags: BIAS, RESIDUAL.
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

// [invocation, row of x]
var<workgroup> partial: array<f32, WORKGROUP * ROWS>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let lane = local % LANES;
    let n = (id.x + id.y * count.x) * (WORKGROUP / LANES) + local / LANES;
    let k = params.k;
    var sums: array<f32, ROWS>;
    if (n < params.n) {
        for (var k8 = lane; k8 * 8u < k; k8 += LANES) {
            var w = weight8(n, k8, k);
            for (var m = 0u; m < ROWS; m++) {
                let at = m * k + k8 * 8u;
                if (k8 * 8u + 8u <= k) {
                    sums[m] += dot(w[0], vec4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]))
                        + dot(w[1], vec4<f32>(x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]));
                } else {
                    for (var i = 0u; k8 * 8u + i < k; i++) {
                        sums[m] += w[i / 4u][i % 4u] * x[at + i];
                    }
                }
            }
        }
    }
    for (var m = 0u; m < ROWS; m++) { partial[local * ROWS + m] = sums[m]; }
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (lane < step) {
            for (var m = 0u; m < ROWS; m++) {
                partial[local * ROWS + m] += partial[(local + step) * ROWS + m];
            }
        }
    }
    if (lane == 0u && n < params.n) {
        for (var m = 0u; m < ROWS; m++) {
            var value = partial[local * ROWS + m];
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
