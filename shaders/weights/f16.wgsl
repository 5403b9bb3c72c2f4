// Weight access for f16 storage: `weights` holds the row-major matrix [n, k], two f16 a word.
// unpack2x16float is core WGSL, so no optional GPU feature is needed.
@group(0) @binding(auto) var<storage, read_write> weights: array<u32>;

fn weight1(index: u32) -> f32 {
    return unpack2x16float(weights[index >> 1u])[index & 1u];
}

// Eight consecutive weights of row `n` starting at column 8 * `k8`; zero beyond column k.
fn weight8(n: u32, k8: u32, k: u32) -> array<vec4<f32>, 2> {
    let first = n * k + k8 * 8u;
    let count = min(8u, k - k8 * 8u);
    if (count == 8u && (first & 1u) == 0u) {
        let word = first >> 1u;
        return array<vec4<f32>, 2>(
            vec4<f32>(unpack2x16float(weights[word]), unpack2x16float(weights[word + 1u])),
            vec4<f32>(unpack2x16float(weights[word + 2u]), unpack2x16float(weights[word + 3u])),
        );
    }
    var lo = vec4<f32>();
    var hi = vec4<f32>();
    for (var i = 0u; i < min(count, 4u); i++) { lo[i] = weight1(first + i); }
    for (var i = 4u; i < count; i++) { hi[i - 4u] = weight1(first + i); }
    return array<vec4<f32>, 2>(lo, hi);
}
