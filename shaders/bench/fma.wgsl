// Multiply-adds of f32 in registers: the arithmetic rate that other kernels are held against.
//
// Every invocation keeps eight independent sums, so that none waits for the one before, and makes
// ROUNDS times 64 multiply-adds. The factors come from memory, so that nothing can be folded.
// Constants: WORKGROUP, ROUNDS.
@group(0) @binding(auto) var<storage, read_write> factors: array<vec4<f32>>;
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let m = factors[0];
    let c = factors[1];
    var a = c * f32(local);
    var b = m * f32(local);
    for (var i = 0u; i < ROUNDS; i++) {
        a = fma(a, m, c); b = fma(b, m, c);
        a = fma(a, m, c); b = fma(b, m, c);
        a = fma(a, m, c); b = fma(b, m, c);
        a = fma(a, m, c); b = fma(b, m, c);
        a = fma(a, m, c); b = fma(b, m, c);
        a = fma(a, m, c); b = fma(b, m, c);
        a = fma(a, m, c); b = fma(b, m, c);
        a = fma(a, m, c); b = fma(b, m, c);
    }
    out[id.x * WORKGROUP + local] = dot(a + b, vec4<f32>(1.0));
}
