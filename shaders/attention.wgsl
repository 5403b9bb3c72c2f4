// Attention with an optional relative-position bias, softmax computed online in f32:
// out[b, t, h, :] = sum_s softmax_s(scale * q[b, t, h, :] . k[b, s, h, :] + bias[s - t, h]) v[b, s, h, :]
//
// One workgroup computes one (batch, query, head). Keys go by in chunks of WORKGROUP: every
// invocation scores one key, then every invocation adds up its columns of v.
// q, k and v are rows of `*_stride` values starting at `*_offset`; with the flag PACKED all three
// lie in one buffer. k and v of batch entry b are those of entry b % kv_batch, so beams share them;
// with LINEAGE key s of entry b is row s of entry lineage[b, s], so beams reorder without copying.
// With CAUSAL the last query sees all keys and every earlier one a key less.
// Constants: WORKGROUP; WIDTH, the head width, at most 256. Flags: PACKED, BIAS, LINEAGE, CAUSAL.
struct Params {
    batch: u32, kv_batch: u32, heads: u32, queries: u32, keys: u32, kv_capacity: u32,
    q_stride: u32, q_offset: u32, k_stride: u32, k_offset: u32, v_stride: u32, v_offset: u32,
    bias_center: u32, scale: f32,
}

//#if PACKED
@group(0) @binding(auto) var<storage, read_write> q: array<f32>;
//#else
@group(0) @binding(auto) var<storage, read_write> q: array<f32>;
@group(0) @binding(auto) var<storage, read_write> k: array<f32>;
@group(0) @binding(auto) var<storage, read_write> v: array<f32>;
//#endif
//#if BIAS
// [distance, head]; the distance key - query = 0 is row bias_center.
@group(0) @binding(auto) var<storage, read_write> bias: array<f32>;
//#endif
//#if LINEAGE
// [batch, keys]
@group(0) @binding(auto) var<storage, read_write> lineage: array<u32>;
//#endif
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

const COLUMNS: u32 = (WIDTH + WORKGROUP - 1u) / WORKGROUP;

var<workgroup> query: array<f32, WIDTH>;
var<workgroup> scores: array<f32, WORKGROUP>;

fn key_at(index: u32) -> f32 {
//#if PACKED
    return q[index];
//#else
    return k[index];
//#endif
}

fn value_at(index: u32) -> f32 {
//#if PACKED
    return q[index];
//#else
    return v[index];
//#endif
}

// The row of k and v that holds key s of batch entry b.
fn kv_row(b: u32, s: u32) -> u32 {
//#if LINEAGE
    return lineage[b * params.keys + s] * params.kv_capacity + s;
//#else
    return (b % params.kv_batch) * params.kv_capacity + s;
//#endif
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let head = id.x;
    let t = id.y;
    let b = id.z;
//#if CAUSAL
    let keys = params.keys - (params.queries - 1u - t);
//#else
    let keys = params.keys;
//#endif
    let q_at = (b * params.queries + t) * params.q_stride + params.q_offset + head * WIDTH;
    for (var i = local; i < WIDTH; i += WORKGROUP) { query[i] = q[q_at + i] * params.scale; }
    workgroupBarrier();

    var largest = -3.4e38;
    var total = 0.0;
    var sums: array<f32, COLUMNS>;
    for (var chunk = 0u; chunk < keys; chunk += WORKGROUP) {
        let s = chunk + local;
        if (s < keys) {
            let k_at = kv_row(b, s) * params.k_stride + params.k_offset + head * WIDTH;
            var score = 0.0;
            for (var i = 0u; i < WIDTH; i++) { score += query[i] * key_at(k_at + i); }
//#if BIAS
            score += bias[(params.bias_center + s - t) * params.heads + head];
//#endif
            scores[local] = score;
        }
        workgroupBarrier();
        let count = min(WORKGROUP, keys - chunk);
        var next = largest;
        for (var i = 0u; i < count; i++) { next = max(next, scores[i]); }
        let shrink = exp(largest - next);
        largest = next;
        total *= shrink;
        for (var c = 0u; c < COLUMNS; c++) { sums[c] *= shrink; }
        for (var i = 0u; i < count; i++) {
            let weight = exp(scores[i] - largest);
            total += weight;
            let v_at = kv_row(b, chunk + i) * params.v_stride + params.v_offset + head * WIDTH;
            for (var c = 0u; c < COLUMNS; c++) {
                let column = c * WORKGROUP + local;
                if (column < WIDTH) { sums[c] += weight * value_at(v_at + column); }
            }
        }
        workgroupBarrier();
    }
    let out_at = ((b * params.queries + t) * params.heads + head) * WIDTH;
    for (var c = 0u; c < COLUMNS; c++) {
        let column = c * WORKGROUP + local;
        if (column < WIDTH) { out[out_at + column] = sums[c] / total; }
    }
}
