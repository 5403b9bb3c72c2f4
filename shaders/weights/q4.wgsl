// Weight access for q4 storage: eight nibbles a word, row-major [n, k / 8], low nibble first,
// value (nibble - 8) * scale; one f16 scale a group of 32 columns, two scales a word of `scales`.
// k is a multiple of 32.
@group(0) @binding(auto) var<storage, read_write> weights: array<u32>;
@group(0) @binding(auto) var<storage, read_write> scales: array<u32>;

// Eight consecutive weights of row `n` starting at column 8 * `k8`.
fn weight8(n: u32, k8: u32, k: u32) -> array<vec4<f32>, 2> {
    let word = weights[n * (k / 8u) + k8];
    let group = n * (k / 32u) + (k8 >> 2u);
    let scale = unpack2x16float(scales[group >> 1u])[group & 1u];
    let shifts = vec4<u32>(0u, 4u, 8u, 12u);
    let lo = (vec4<u32>(word) >> shifts) & vec4<u32>(15u);
    let hi = (vec4<u32>(word >> 16u) >> shifts) & vec4<u32>(15u);
    return array<vec4<f32>, 2>(
        (vec4<f32>(lo) - 8.0) * scale,
        (vec4<f32>(hi) - 8.0) * scale,
    );
}
