// Copies a buffer, 16 bytes an invocation: the bandwidth that other kernels are held against.
//
// Constants: WORKGROUP.
@group(0) @binding(auto) var<storage, read_write> source: array<vec4<u32>>;
@group(0) @binding(auto) var<storage, read_write> copied: array<vec4<u32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let i = (id.x + id.y * count.x) * WORKGROUP + local;
    if (i < arrayLength(&copied)) { copied[i] = source[i]; }
}
