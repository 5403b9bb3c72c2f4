// T5's gated feed-forward: out = act(gate) * up, value by value. Needs activate() of
// shaders/parts. Constant: WORKGROUP.
struct Params { count: u32 }

@group(0) @binding(auto) var<storage, read_write> gate: array<f32>;
@group(0) @binding(auto) var<storage, read_write> up: array<f32>;
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let i = (id.x + id.y * count.x) * WORKGROUP + local;
    if (i < params.count) { out[i] = activate(gate[i]) * up[i]; }
}
