// T5's root-mean-square norm over rows of `width` values: out = x / sqrt(mean(x^2) + epsilon) * weight.
//
// One workgroup a row, in f32 whatever the weights' format. Constants: WORKGROUP, a power of two.
struct Params { rows: u32, width: u32, epsilon: f32 }

@group(0) @binding(auto) var<storage, read_write> x: array<f32>;
@group(0) @binding(auto) var<storage, read_write> weight: array<f32>;
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let row = id.x + id.y * count.x;
    if (row >= params.rows) { return; }
    let first = row * params.width;
    var squares = 0.0;
    for (var i = local; i < params.width; i += WORKGROUP) { squares += x[first + i] * x[first + i]; }
    partial[local] = squares;
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (local < step) { partial[local] += partial[local + step]; }
    }
    workgroupBarrier();
    let scale = 1.0 / sqrt(partial[0] / f32(params.width) + params.epsilon);
    for (var i = local; i < params.width; i += WORKGROUP) {
        out[first + i] = x[first + i] * scale * weight[i];
    }
}
