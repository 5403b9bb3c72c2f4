// Next to nothing, but it depends on the dispatch before: what one costs among many.
//
// Constants: WORKGROUP.
@group(0) @binding(auto) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) local: u32) {
    out[local] += 1u;
}
