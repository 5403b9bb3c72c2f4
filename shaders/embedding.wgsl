// Embedding gather from packed rows: out[t, :] = w[ids[t], :]. Needs weight8() of shaders/weights.
//
// One workgroup a token, eight columns an invocation at a time. An id beyond the table gives
// zeros; ids are checked on the host. With STEP the ids are those of `tokens` texts at `position`,
// which needs token_history.wgsl of shaders/parts. Constants: WORKGROUP. Flags: STEP.
struct Params { tokens: u32, n: u32, k: u32 }

//#if STEP
@group(0) @binding(auto) var<storage, read_write> history: array<u32>;
@group(0) @binding(auto) var<storage, read_write> position: array<u32>;
//#else
@group(0) @binding(auto) var<storage, read_write> ids: array<u32>;
//#endif
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let t = id.x + id.y * count.x;
    if (t >= params.tokens) { return; }
//#if STEP
    let n = token_at(position[0], t, params.tokens);
//#else
    let n = ids[t];
//#endif
    let k = params.k;
    for (var k8 = local; k8 * 8u < k; k8 += WORKGROUP) {
        var w = array<vec4<f32>, 2>();
        if (n < params.n) { w = weight8(n, k8, k); }
        for (var i = 0u; i < 8u && k8 * 8u + i < k; i++) {
            out[t * k + k8 * 8u + i] = w[i / 4u][i % 4u];
        }
    }
}
