// Norms over rows of `width` values, in f32 whatever the weights' format:
// out = x / sqrt(mean(x^2) + epsilon) * weight, T5's. With MEAN the layer norm: of x less its mean,
// plus `bias`.
//
// LANES invocations share a row and meet in workgroup memory, with MEAN twice; several rows a
// workgroup keep those meetings few. The variance is that of the differences from the mean (two
// passes), since E[x^2] - E[x]^2 loses digits. Constants: LANES; ROWS, those of a workgroup.
struct Params { rows: u32, width: u32, epsilon: f32 }

@group(0) @binding(auto) var<storage, read_write> x: array<f32>;
@group(0) @binding(auto) var<storage, read_write> weight: array<f32>;
//#if MEAN
@group(0) @binding(auto) var<storage, read_write> bias: array<f32>;
//#endif
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

//#if MEAN
var<workgroup> sums: array<f32, ROWS * LANES>;
//#endif
var<workgroup> squares: array<f32, ROWS * LANES>;

@compute @workgroup_size(ROWS * LANES)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let row = (id.x + id.y * count.x) * ROWS + local / LANES;
    let lane = local % LANES;
    let shared_from = local - lane;
    let first = row * params.width;
    let width = select(0u, params.width, row < params.rows);
    var mean = 0.0;
//#if MEAN
    var sum = 0.0;
    for (var i = lane; i < width; i += LANES) { sum += x[first + i]; }
    sums[local] = sum;
    workgroupBarrier();
    for (var i = 0u; i < LANES; i++) { mean += sums[shared_from + i]; }
    mean /= f32(params.width);
//#endif
    var square = 0.0;
    for (var i = lane; i < width; i += LANES) {
        let difference = x[first + i] - mean;
        square += difference * difference;
    }
    squares[local] = square;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < LANES; i++) { total += squares[shared_from + i]; }
    let scale = 1.0 / sqrt(total / f32(params.width) + params.epsilon);
    for (var i = lane; i < width; i += LANES) {
        var y = (x[first + i] - mean) * scale * weight[i];
//#if MEAN
        y += bias[i];
//#endif
        out[first + i] = y;
    }
}
