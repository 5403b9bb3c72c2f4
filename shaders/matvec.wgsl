// Matrix-vector product for few rows of x:
// out[m, n] = act(norm(x)[m, :] . w[n, :] + bias[n]) + residual[m, n], m < ROWS.
//
// LANES invocations share four rows of w, each taking eight columns at a time, so that x is read
// once for the four; their partial sums meet in workgroup memory. With NORM x is first divided by
// its root mean square and multiplied by `gain`: the sum of squares is gathered in the same pass.
// GATE takes two matrices of one shape: out = act(w0 x) * (w1 x). With CACHE `out` is the decoder's
// cache [ROWS, capacity, 2 n] and the product, from column `column` on, a token's keys, values, or
// with two matrices both.
// Needs eight_at() and dot8() of shaders/weights and activate() of shaders/parts.
// Constants: ROWS, MATRICES, LANES a power of two from TILE on, WORKGROUP, TILE = 4.
// Flags: VECTOR (k is a multiple of 8), NORM, BIAS, RESIDUAL, GATE, CACHE.
struct Params { m: u32, n: u32, k: u32, capacity: u32, column: u32, epsilon: f32 }

//#if VECTOR
@group(0) @binding(auto) var<storage, read_write> x: array<vec4<f32>>;
//#else
@group(0) @binding(auto) var<storage, read_write> x: array<f32>;
//#endif
//#if NORM
//#if VECTOR
@group(0) @binding(auto) var<storage, read_write> gain: array<vec4<f32>>;
//#else
@group(0) @binding(auto) var<storage, read_write> gain: array<f32>;
//#endif
//#endif
//#if BIAS
@group(0) @binding(auto) var<storage, read_write> bias: array<f32>;
//#endif
//#if RESIDUAL
@group(0) @binding(auto) var<storage, read_write> residual: array<f32>;
//#endif
//#if CACHE
// Where in its text the token stands.
@group(0) @binding(auto) var<storage, read_write> position: array<u32>;
//#endif
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

// [invocation, row of w]
//#for w in MATRICES
var<workgroup> partial$w: array<f32, WORKGROUP * TILE>;
//#end
//#if NORM
var<workgroup> squares: array<f32, WORKGROUP>;
//#endif

// Four values of row m of x from column 4 * k4 on; zero beyond column k.
fn x4(m: u32, k4: u32) -> vec4<f32> {
//#if VECTOR
    return x[m * (params.k / 4u) + k4];
//#else
    var values = vec4<f32>();
    let first = k4 * 4u;
    for (var i = 0u; i < 4u && first + i < params.k; i++) { values[i] = x[m * params.k + first + i]; }
    return values;
//#endif
}

//#if NORM
fn gain4(k4: u32) -> vec4<f32> {
//#if VECTOR
    return gain[k4];
//#else
    var values = vec4<f32>();
    let first = k4 * 4u;
    for (var i = 0u; i < 4u && first + i < params.k; i++) { values[i] = gain[first + i]; }
    return values;
//#endif
}

//#endif
@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let lane = local % LANES;
    let first = (id.x + id.y * count.x) * (WORKGROUP / LANES) * TILE;
    let own = first + local / LANES * TILE;
    let k = params.k;
//#for r in TILE
    // Beyond the last row the last is read again and not written.
    let n$r = min(own + $ru, params.n - 1u);
//#end
//#for m in ROWS
//#for w in MATRICES
    var sums$w_$m = vec4<f32>();
//#end
//#if NORM
    var square$m = 0.0;
//#endif
//#end
    for (var k8 = lane; k8 * 8u < k; k8 += LANES) {
//#for r in TILE
//#for w in MATRICES
        let w$w_$r = eight_at$w(n$r, k8, k);
//#end
//#end
//#if NORM
        let gain_lo = gain4(k8 * 2u);
        let gain_hi = gain4(k8 * 2u + 1u);
//#endif
//#for m in ROWS
        var lo$m = x4($mu, k8 * 2u);
        var hi$m = x4($mu, k8 * 2u + 1u);
//#if NORM
        square$m += dot(lo$m, lo$m) + dot(hi$m, hi$m);
        lo$m *= gain_lo;
        hi$m *= gain_hi;
//#endif
        let total$m = dot(lo$m + hi$m, vec4<f32>(1.0));
//#for r in TILE
//#for w in MATRICES
        sums$w_$m[$r] += dot8(w$w_$r, lo$m, hi$m, total$m);
//#end
//#end
//#end
    }
    // The first TILE invocations of each group of LANES finish a row of w each.
    let n = first + local;
    let finishes = local < WORKGROUP / LANES * TILE && n < params.n;
    let from_lane = local / TILE * LANES;
//#for m in ROWS
    if ($mu > 0u) { workgroupBarrier(); }
//#for r in TILE
//#for w in MATRICES
    partial$w[local * TILE + $ru] = sums$w_$m[$r];
//#end
//#end
//#if NORM
    squares[local] = square$m;
//#endif
    workgroupBarrier();
    if (finishes) {
//#for w in MATRICES
        var value$w = 0.0;
//#end
//#if NORM
        var square = 0.0;
//#endif
        for (var i = from_lane; i < from_lane + LANES; i++) {
//#for w in MATRICES
            value$w += partial$w[i * TILE + local % TILE];
//#end
//#if NORM
            square += squares[i];
//#endif
        }
//#if NORM
        let scale = inverseSqrt(square / f32(k) + params.epsilon);
//#for w in MATRICES
        value$w *= scale;
//#end
//#endif
//#if BIAS
        value0 += bias[n];
//#endif
//#if CACHE
        let at = ($mu * params.capacity + position[0]) * 2u * params.n + params.column + n;
//#for w in MATRICES
        out[at + $wu * params.n] = value$w;
//#end
//#else
        value0 = activate(value0);
//#if GATE
        value0 *= value1;
//#endif
//#if RESIDUAL
        value0 += residual[$mu * params.n + n];
//#endif
        out[$mu * params.n + n] = value0;
//#endif
    }
//#end
}
