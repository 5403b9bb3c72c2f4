// Weight access for f16 storage: `weights` holds the row-major matrix [n, k], two f16 a word.
// unpack2x16float is core WGSL, so no optional GPU feature is needed.
//#for w in MATRICES
@group(0) @binding(auto) var<storage, read_write> weights$w: array<u32>;
//#end

// Eight consecutive weights of a row; zero beyond column k.
struct Eight { lo: vec4<f32>, hi: vec4<f32> }

// Those of row `n` starting at column 8 * `k8`.
//#for w in MATRICES
fn weight1_$w(index: u32) -> f32 {
    return unpack2x16float(weights$w[index >> 1u])[index & 1u];
}

fn eight_at$w(n: u32, k8: u32, k: u32) -> Eight {
    let first = n * k + k8 * 8u;
    let count = min(8u, k - k8 * 8u);
    if (count == 8u && (first & 1u) == 0u) {
        let word = first >> 1u;
        return Eight(
            vec4<f32>(unpack2x16float(weights$w[word]), unpack2x16float(weights$w[word + 1u])),
            vec4<f32>(unpack2x16float(weights$w[word + 2u]), unpack2x16float(weights$w[word + 3u])),
        );
    }
    var lo = vec4<f32>();
    var hi = vec4<f32>();
    for (var i = 0u; i < min(count, 4u); i++) { lo[i] = weight1_$w(first + i); }
    for (var i = 4u; i < count; i++) { hi[i - 4u] = weight1_$w(first + i); }
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
