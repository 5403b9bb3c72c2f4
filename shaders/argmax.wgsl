// Index of the largest value of each row, the smallest index among equals as torch.argmax, and
// its log-softmax: the tokens after `position` of the texts.
//
// One workgroup a row. Needs reduce.wgsl and token_history.wgsl of shaders/parts.
// Constants: WORKGROUP, a power of two.
struct Params { rows: u32, width: u32 }

@group(0) @binding(auto) var<storage, read_write> x: array<f32>;
@group(0) @binding(auto) var<storage, read_write> position: array<u32>;
@group(0) @binding(auto) var<storage, read_write> history: array<u32>;
@group(0) @binding(auto) var<uniform> params: Params;

var<workgroup> values: array<f32, WORKGROUP>;
var<workgroup> indices: array<u32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let row = id.x + id.y * count.x;
    if (row >= params.rows) { return; }
    var best = -3.4028234e38;
    var index = 0xffffffffu;
    for (var i = local; i < params.width; i += WORKGROUP) {
        let value = x[row * params.width + i];
        if (value > best || index == 0xffffffffu) {
            best = value;
            index = i;
        }
    }
    values[local] = best;
    indices[local] = index;
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (local < step) {
            let value = values[local + step];
            let other = indices[local + step];
            let first = indices[local] == 0xffffffffu;
            if (other != 0xffffffffu && (first || value > values[local]
                || (value == values[local] && other < indices[local]))) {
                values[local] = value;
                indices[local] = other;
            }
        }
    }
    workgroupBarrier();
    let largest = values[0];
    var sum = 0.0;
    for (var i = local; i < params.width; i += WORKGROUP) {
        sum += exp(x[row * params.width + i] - largest);
    }
    let total = sum_of_all(local, sum);
    if (local == 0u) {
        write_token(position[0] + 1u, row, params.rows, indices[0], -log(total));
    }
}
