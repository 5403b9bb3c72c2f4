// Weight access for q8 storage: four signed bytes a word, row-major [n, k / 4]; one f16 scale a
// group of 32 columns, two scales a word of `scales`. k is a multiple of 32.
//#for w in MATRICES
@group(0) @binding(auto) var<storage, read_write> weights$w: array<u32>;
@group(0) @binding(auto) var<storage, read_write> scales$w: array<u32>;
//#end

// Eight consecutive weights of a row before scaling.
struct Eight { lo: vec4<f32>, hi: vec4<f32>, scale: f32 }

fn bytes4(word: u32) -> vec4<f32> {
    let shifted = vec4<u32>(word << 24u, word << 16u, word << 8u, word);
    return vec4<f32>(bitcast<vec4<i32>>(shifted) >> vec4<u32>(24u));
}

// Those of row `n` starting at column 8 * `k8`.
//#for w in MATRICES
fn eight_at$w(n: u32, k8: u32, k: u32) -> Eight {
    let word = n * (k / 4u) + k8 * 2u;
    let group = n * (k / 32u) + (k8 >> 2u);
    let scale = unpack2x16float(scales$w[group >> 1u])[group & 1u];
    return Eight(bytes4(weights$w[word]), bytes4(weights$w[word + 1u]), scale);
}
//#end

// The dot product with eight values; their sum is not needed.
fn dot8(w: Eight, lo: vec4<f32>, hi: vec4<f32>, total: f32) -> f32 {
    return (dot(w.lo, lo) + dot(w.hi, hi)) * w.scale;
}

// The weights themselves.
fn weight8(n: u32, k8: u32, k: u32) -> array<vec4<f32>, 2> {
    let w = eight_at0(n, k8, k);
    return array<vec4<f32>, 2>(w.lo * w.scale, w.hi * w.scale);
}
