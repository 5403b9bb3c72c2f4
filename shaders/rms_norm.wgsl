// T5's root-mean-square norm over rows of `width` values: out = x / sqrt(mean(x^2) + epsilon) * weight.
//
// In f32 whatever the weights' format. LANES invocations share a row and meet in workgroup memory
// once. Constants: LANES; ROWS, those of a workgroup.
struct Params { rows: u32, width: u32, epsilon: f32 }

@group(0) @binding(auto) var<storage, read_write> x: array<f32>;
@group(0) @binding(auto) var<storage, read_write> weight: array<f32>;
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

var<workgroup> squares: array<f32, ROWS * LANES>;

@compute @workgroup_size(ROWS * LANES)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let row = (id.x + id.y * count.x) * ROWS + local / LANES;
    let lane = local % LANES;
    let first = row * params.width;
    let width = select(0u, params.width, row < params.rows);
    var square = 0.0;
    for (var i = lane; i < width; i += LANES) { square += x[first + i] * x[first + i]; }
    squares[local] = square;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < LANES; i++) { total += squares[local - lane + i]; }
    let scale = 1.0 / sqrt(total / f32(params.width) + params.epsilon);
    for (var i = lane; i < width; i += LANES) {
        out[first + i] = x[first + i] * scale * weight[i];
    }
}
