// Weight access for q4 storage: eight nibbles a word, row-major [n, k / 8], low nibble first,
// value (nibble - 8) * scale; one f16 scale a group of 32 columns, two scales a word of `scales`.
// k is a multiple of 32.
//#for w in MATRICES
@group(0) @binding(auto) var<storage, read_write> weights$w: array<u32>;
@group(0) @binding(auto) var<storage, read_write> scales$w: array<u32>;
//#end

// Eight consecutive weights of a row before scaling: (lo, hi) - 8, times `scale`.
struct Eight { lo: vec4<f32>, hi: vec4<f32>, scale: f32 }

fn eight(word: u32, scale_pair: u32, group: u32) -> Eight {
    let shifts = vec4<u32>(0u, 4u, 8u, 12u);
    let lo = (vec4<u32>(word) >> shifts) & vec4<u32>(15u);
    let hi = (vec4<u32>(word >> 16u) >> shifts) & vec4<u32>(15u);
    return Eight(vec4<f32>(lo), vec4<f32>(hi), unpack2x16float(scale_pair)[group & 1u]);
}

// Those of row `n` starting at column 8 * `k8`.
//#for w in MATRICES
fn eight_at$w(n: u32, k8: u32, k: u32) -> Eight {
    let group = n * (k / 32u) + (k8 >> 2u);
    return eight(weights$w[n * (k / 8u) + k8], scales$w[group >> 1u], group);
}
//#end

// The dot product with eight values whose sum is `total`: the 8 is taken off once, not eight times.
fn dot8(w: Eight, lo: vec4<f32>, hi: vec4<f32>, total: f32) -> f32 {
    return (dot(w.lo, lo) + dot(w.hi, hi) - 8.0 * total) * w.scale;
}

// The weights themselves.
fn weight8(n: u32, k8: u32, k: u32) -> array<vec4<f32>, 2> {
    let w = eight_at0(n, k8, k);
    return array<vec4<f32>, 2>((w.lo - 8.0) * w.scale, (w.hi - 8.0) * w.scale);
}
