// Weight access for q8 storage: four signed bytes a word, row-major [n, k / 4]; one f16 scale a
// group of 32 columns, two scales a word of `scales`. k is a multiple of 32.
@group(0) @binding(auto) var<storage, read_write> weights: array<u32>;
@group(0) @binding(auto) var<storage, read_write> scales: array<u32>;

fn bytes4(word: u32) -> vec4<f32> {
    let shifted = vec4<u32>(word << 24u, word << 16u, word << 8u, word);
    return vec4<f32>(bitcast<vec4<i32>>(shifted) >> vec4<u32>(24u));
}

// Eight consecutive weights of row `n` starting at column 8 * `k8`.
fn weight8(n: u32, k8: u32, k: u32) -> array<vec4<f32>, 2> {
    let word = n * (k / 4u) + k8 * 2u;
    let group = n * (k / 32u) + (k8 >> 2u);
    let scale = unpack2x16float(scales[group >> 1u])[group & 1u];
    return array<vec4<f32>, 2>(bytes4(weights[word]) * scale, bytes4(weights[word + 1u]) * scale);
}
