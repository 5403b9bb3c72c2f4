// Layer norm over rows of `width` values: out = (x - mean) / sqrt(variance + epsilon) * weight + bias.
//
// One workgroup a row; the variance is that of the differences from the mean (two passes), since
// E[x^2] - E[x]^2 loses digits. Constants: WORKGROUP, a power of two.
struct Params { rows: u32, width: u32, epsilon: f32 }

@group(0) @binding(auto) var<storage, read_write> x: array<f32>;
@group(0) @binding(auto) var<storage, read_write> weight: array<f32>;
@group(0) @binding(auto) var<storage, read_write> bias: array<f32>;
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP>;

fn total(local: u32, value: f32) -> f32 {
    partial[local] = value;
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (local < step) { partial[local] += partial[local + step]; }
    }
    workgroupBarrier();
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let row = id.x + id.y * count.x;
    if (row >= params.rows) { return; }
    let first = row * params.width;
    var sum = 0.0;
    for (var i = local; i < params.width; i += WORKGROUP) { sum += x[first + i]; }
    let mean = total(local, sum) / f32(params.width);
    var squares = 0.0;
    for (var i = local; i < params.width; i += WORKGROUP) {
        let difference = x[first + i] - mean;
        squares += difference * difference;
    }
    let variance = total(local, squares) / f32(params.width);
    let scale = 1.0 / sqrt(variance + params.epsilon);
    for (var i = local; i < params.width; i += WORKGROUP) {
        out[first + i] = (x[first + i] - mean) * scale * weight[i] + bias[i];
    }
}
