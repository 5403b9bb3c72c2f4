// The log-softmax of one given entry of each row: out[r] = log softmax(logits[r, :])[ids[r]].
// An id beyond the row gives 0, so that padding adds nothing.
//
// One workgroup a row. Needs reduce.wgsl of shaders/parts. Constants: WORKGROUP, a power of two.
struct Params { rows: u32, width: u32 }

@group(0) @binding(auto) var<storage, read_write> logits: array<f32>;
@group(0) @binding(auto) var<storage, read_write> ids: array<u32>;
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let row = id.x + id.y * count.x;
    if (row >= params.rows) { return; }
    let first = row * params.width;
    var own = -3.4028234e38;
    for (var i = local; i < params.width; i += WORKGROUP) { own = max(own, logits[first + i]); }
    let largest = largest_of_all(local, own);
    var sum = 0.0;
    for (var i = local; i < params.width; i += WORKGROUP) { sum += exp(logits[first + i] - largest); }
    let total = sum_of_all(local, sum);
    if (local == 0u) {
        var result = 0.0;
        if (ids[row] < params.width) { result = logits[first + ids[row]] - largest - log(total); }
        out[row] = result;
    }
}
