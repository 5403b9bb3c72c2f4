// Weight access for f32 storage: `weights` holds the row-major matrix [n, k] as bits of f32.
//#for w in MATRICES
@group(0) @binding(auto) var<storage, read_write> weights$w: array<u32>;
//#end

// Eight consecutive weights of a row; zero beyond column k.
struct Eight { lo: vec4<f32>, hi: vec4<f32> }

// Those of row `n` starting at column 8 * `k8`.
//#for w in MATRICES
fn eight_at$w(n: u32, k8: u32, k: u32) -> Eight {
    let first = n * k + k8 * 8u;
    let count = min(8u, k - k8 * 8u);
    var lo = vec4<f32>();
    var hi = vec4<f32>();
    for (var i = 0u; i < min(count, 4u); i++) { lo[i] = bitcast<f32>(weights$w[first + i]); }
    for (var i = 4u; i < count; i++) { hi[i - 4u] = bitcast<f32>(weights$w[first + i]); }
    return Eight(lo, hi);
}
//#end

// The dot product with eight values; their sum is not needed.
fn dot8(w: Eight, lo: vec4<f32>, hi: vec4<f32>, total: f32) -> f32 {
    return dot(w.lo, lo) + dot(w.hi, hi);
}

// The weights themselves.
fn weight8(n: u32, k8: u32, k: u32) -> array<vec4<f32>, 2> {
    let w = eight_at0(n, k8, k);
    return array<vec4<f32>, 2>(w.lo, w.hi);
}
