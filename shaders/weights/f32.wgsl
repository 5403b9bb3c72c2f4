// Weight access for f32 storage: `weights` holds the row-major matrix [n, k] as bits of f32.
@group(0) @binding(auto) var<storage, read_write> weights: array<u32>;

// Eight consecutive weights of row `n` starting at column 8 * `k8`; zero beyond column k.
fn weight8(n: u32, k8: u32, k: u32) -> array<vec4<f32>, 2> {
    let first = n * k + k8 * 8u;
    let count = min(8u, k - k8 * 8u);
    var lo = vec4<f32>();
    var hi = vec4<f32>();
    for (var i = 0u; i < min(count, 4u); i++) { lo[i] = bitcast<f32>(weights[first + i]); }
    for (var i = 4u; i < count; i++) { hi[i - 4u] = bitcast<f32>(weights[first + i]); }
    return array<vec4<f32>, 2>(lo, hi);
}
