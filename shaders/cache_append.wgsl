// Writes the newest keys or values into the preallocated cache, in place:
// cache[b, position + t, :] = x[b, t, :]. Constants: WORKGROUP.
struct Params { tokens: u32, width: u32, capacity: u32, position: u32, count: u32 }

@group(0) @binding(auto) var<storage, read_write> x: array<f32>;
@group(0) @binding(auto) var<storage, read_write> cache: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let i = (id.x + id.y * count.x) * WORKGROUP + local;
    if (i < params.count) {
        let row = i / params.width;
        let b = row / params.tokens;
        let t = row % params.tokens;
        cache[(b * params.capacity + params.position + t) * params.width + i % params.width] = x[i];
    }
}
