// The k best of each row, best first, of equals the one with the smaller index: pairs of a label
// and the bits of a value, [rows, k, 2].
//
// Of scores [rows, width] plus offsets [rows] the label is row * width + index. With MERGE the
// input is such pairs, `width` in one row, and labels stay. One workgroup a row: every invocation
// holds the best of its columns that is not taken, and only the winner looks for its next.
// Where fewer than k are numbers, the labels left are NONE. Constants: WORKGROUP, a power of two.
struct Params { rows: u32, width: u32, k: u32 }

//#if MERGE
@group(0) @binding(auto) var<storage, read_write> pairs: array<u32>;
//#else
@group(0) @binding(auto) var<storage, read_write> scores: array<f32>;
@group(0) @binding(auto) var<storage, read_write> offsets: array<f32>;
//#endif
@group(0) @binding(auto) var<storage, read_write> out: array<u32>;
@group(0) @binding(auto) var<uniform> params: Params;

const NONE: u32 = 0xffffffffu;
const LOWEST: f32 = -3.4028234e38;

var<workgroup> values: array<f32, WORKGROUP>;
var<workgroup> indices: array<u32, WORKGROUP>;

struct Best { value: f32, index: u32 }

fn value_of(row: u32, i: u32) -> f32 {
//#if MERGE
    return bitcast<f32>(pairs[2u * (row * params.width + i) + 1u]);
//#else
    return scores[row * params.width + i] + offsets[row];
//#endif
}

fn label_of(row: u32, i: u32) -> u32 {
//#if MERGE
    return pairs[2u * (row * params.width + i)];
//#else
    return row * params.width + i;
//#endif
}

// The best of an invocation's columns that comes after `last`.
fn next_best(row: u32, local: u32, last: Best) -> Best {
    var best = Best(LOWEST, NONE);
    for (var i = local; i < params.width; i += WORKGROUP) {
        let value = value_of(row, i);
        let left = value < last.value || (value == last.value && i > last.index);
        if (left && (value > best.value || (value == best.value && i < best.index))) {
            best = Best(value, i);
        }
    }
    return best;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let row = id.x + id.y * count.x;
    if (row >= params.rows) { return; }
    var best = next_best(row, local, Best(3.4028234e38, NONE));
    for (var n = 0u; n < params.k; n++) {
        values[local] = best.value;
        indices[local] = best.index;
        for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
            workgroupBarrier();
            if (local < step) {
                let value = values[local + step];
                let index = indices[local + step];
                if (value > values[local] || (value == values[local] && index < indices[local])) {
                    values[local] = value;
                    indices[local] = index;
                }
            }
        }
        workgroupBarrier();
        let winner = Best(values[0], indices[0]);
        workgroupBarrier();
        if (local == 0u) {
            var label = NONE;
            if (winner.index != NONE) { label = label_of(row, winner.index); }
            out[2u * (row * params.k + n)] = label;
            out[2u * (row * params.k + n) + 1u] = bitcast<u32>(winner.value);
        }
        if (winner.index != NONE && best.index == winner.index) {
            best = next_best(row, local, winner);
        }
    }
}
