// Attention with an optional relative-position bias, softmax computed online:
// out[b, t, h, :] = sum_s softmax_s(scale * q[b, t, h, :] . k[b, s, h, :] + bias[s - t, h]) v[b, s, h, :]
//
// One workgroup computes 16 queries of one (batch, head): four groups of four queries by LANES
// invocations. Keys go by in chunks of 4 * KEY_QUADS. An invocation scores four keys for the four
// queries of its group; the weights meet in workgroup memory; then it adds up four columns of v.
// Both are products of 4 x 4 matrices in registers, so each value read from q, k or v serves four.
// Rows of k and v are read by all groups at the same time, which is what caches are good at.
// q, k and v are rows of `*_stride` values starting at `*_offset`; with the flag PACKED all three
// lie in one buffer. k and v of batch entry b are those of entry b % kv_batch, so texts share them.
// With CAUSAL the last query sees all keys and every earlier one a key less.
// Needs multiply_add() of shaders/parts.
// Constants: WIDTH, the head width, at most 256; LANES, at least 16 and a quarter of it. Flags:
// PACKED, BIAS, CAUSAL; VECTORS where WIDTH and all strides and offsets are multiples of 4, so
// that values are read four at a time.
struct Params {
    batch: u32, kv_batch: u32, heads: u32, queries: u32, keys: u32, kv_capacity: u32,
    q_stride: u32, q_offset: u32, k_stride: u32, k_offset: u32, v_stride: u32, v_offset: u32,
    bias_center: u32, scale: f32,
}

//#if VECTORS
alias Item = vec4<f32>;
//#else
alias Item = f32;
//#endif
@group(0) @binding(auto) var<storage, read_write> q: array<Item>;
//#if PACKED
//#else
@group(0) @binding(auto) var<storage, read_write> k: array<Item>;
@group(0) @binding(auto) var<storage, read_write> v: array<Item>;
//#endif
//#if BIAS
// [distance, head]; the distance key - query = 0 is row bias_center.
@group(0) @binding(auto) var<storage, read_write> bias: array<f32>;
//#endif
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

const GROUPS: u32 = 4u;
const QUADS: u32 = (WIDTH + 3u) / 4u;
const KEY_QUADS: u32 = min(LANES, 32u);
const UNSEEN: f32 = -3.4e38;

// The largest score of each query (a vector a group) among four keys: [key quad, group].
var<workgroup> maxima: array<vec4<f32>, KEY_QUADS * GROUPS>;
// exp(score - largest) of four keys: [key quad, query of the group, group].
var<workgroup> weights: array<vec4<f32>, KEY_QUADS * 4u * GROUPS>;

// Four columns from column 4 * quad of the head whose first value lies at `at`.
fn q4(at: u32, quad: u32) -> vec4<f32> {
//#if VECTORS
    return q[at / 4u + quad];
//#else
    var value = vec4<f32>();
    for (var i = 0u; i < min(4u, WIDTH - 4u * quad); i++) { value[i] = q[at + 4u * quad + i]; }
    return value;
//#endif
}

//#if PACKED
fn k4(at: u32, quad: u32) -> vec4<f32> { return q4(at, quad); }
fn v4(at: u32, quad: u32) -> vec4<f32> { return q4(at, quad); }
//#else
fn k4(at: u32, quad: u32) -> vec4<f32> {
//#if VECTORS
    return k[at / 4u + quad];
//#else
    var value = vec4<f32>();
    for (var i = 0u; i < min(4u, WIDTH - 4u * quad); i++) { value[i] = k[at + 4u * quad + i]; }
    return value;
//#endif
}

fn v4(at: u32, quad: u32) -> vec4<f32> {
//#if VECTORS
    return v[at / 4u + quad];
//#else
    var value = vec4<f32>();
    for (var i = 0u; i < min(4u, WIDTH - 4u * quad); i++) { value[i] = v[at + 4u * quad + i]; }
    return value;
//#endif
}
//#endif

// How many keys query t sees.
fn seen(t: u32) -> u32 {
//#if CAUSAL
    return params.keys - (params.queries - 1u - t);
//#else
    return params.keys;
//#endif
}

// The rows of k and v that hold four keys from s on; keys that are not there repeat the last.
fn kv_rows(b: u32, s: u32) -> vec4<u32> {
    let keys = min(vec4<u32>(s, s + 1u, s + 2u, s + 3u), vec4<u32>(params.keys - 1u));
    return (b % params.kv_batch) * params.kv_capacity + keys;
}

// Scores of query t for the keys from s on.
fn score4(products: vec4<f32>, t: u32, s: u32, head: u32) -> vec4<f32> {
    let keys = vec4<u32>(s, s + 1u, s + 2u, s + 3u);
    var scores = products * params.scale;
//#if BIAS
    let at = (params.bias_center + min(keys, vec4<u32>(params.keys - 1u)) - t) * params.heads + head;
    scores += vec4<f32>(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
//#endif
    return select(vec4<f32>(UNSEEN), scores, keys < vec4<u32>(seen(t)));
}

fn max4(x: vec4<f32>) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}

@compute @workgroup_size(GROUPS * LANES)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let head = id.x;
    let b = id.z;
    let group = local % GROUPS;
    let lane = local / GROUPS;
    let first_t = (id.y * GROUPS + group) * 4u;
    // Queries that are not there repeat the last.
    let t = min(vec4<u32>(first_t, first_t + 1u, first_t + 2u, first_t + 3u), vec4<u32>(params.queries - 1u));
    let q_at = (b * params.queries + t) * params.q_stride + params.q_offset + head * WIDTH;
    let keys = seen(min(id.y * GROUPS * 4u + GROUPS * 4u, params.queries) - 1u);

    var largest = vec4<f32>(UNSEEN);
    var total = vec4<f32>();
    var sums = mat4x4<f32>(); // column i: four columns of v for query i
    for (var chunk = 0u; chunk < keys; chunk += 4u * KEY_QUADS) {
        var scores = mat4x4<f32>(); // column i: four keys for query i
        if (lane < KEY_QUADS) {
            let s = chunk + 4u * lane;
            let k_at = kv_rows(b, s) * params.k_stride + params.k_offset + head * WIDTH;
            for (var i = 0u; i < QUADS; i++) {
                let x = mat4x4<f32>(q4(q_at.x, i), q4(q_at.y, i), q4(q_at.z, i), q4(q_at.w, i));
                let y = mat4x4<f32>(k4(k_at.x, i), k4(k_at.y, i), k4(k_at.z, i), k4(k_at.w, i));
                scores = multiply_add(scores, x, transpose(y));
            }
            scores = mat4x4<f32>(
                score4(scores[0], t.x, s, head),
                score4(scores[1], t.y, s, head),
                score4(scores[2], t.z, s, head),
                score4(scores[3], t.w, s, head),
            );
            maxima[lane * GROUPS + group] =
                vec4<f32>(max4(scores[0]), max4(scores[1]), max4(scores[2]), max4(scores[3]));
        }
        workgroupBarrier();
        var next = largest;
        for (var i = 0u; i < KEY_QUADS; i++) { next = max(next, maxima[i * GROUPS + group]); }
        let shrink = exp(largest - next);
        largest = next;
        if (lane < KEY_QUADS) {
            let at = lane * 4u * GROUPS + group;
            weights[at] = exp(scores[0] - next.x);
            weights[at + GROUPS] = exp(scores[1] - next.y);
            weights[at + 2u * GROUPS] = exp(scores[2] - next.z);
            weights[at + 3u * GROUPS] = exp(scores[3] - next.w);
        }
        workgroupBarrier();
        total *= shrink;
        sums = mat4x4<f32>(
            sums[0] * shrink.x,
            sums[1] * shrink.y,
            sums[2] * shrink.z,
            sums[3] * shrink.w,
        );
        let quads = select(0u, min(KEY_QUADS, (keys - chunk + 3u) / 4u), lane < QUADS);
        for (var i = 0u; i < quads; i++) {
            let at = i * 4u * GROUPS + group;
            let p = mat4x4<f32>(
                weights[at],
                weights[at + GROUPS],
                weights[at + 2u * GROUPS],
                weights[at + 3u * GROUPS],
            );
            let v_at = kv_rows(b, chunk + 4u * i) * params.v_stride + params.v_offset + head * WIDTH;
            let y = mat4x4<f32>(v4(v_at.x, lane), v4(v_at.y, lane), v4(v_at.z, lane), v4(v_at.w, lane));
            sums = multiply_add(sums, p, y);
            total += vec4<f32>(1.0) * p;
        }
    }

    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            let column = 4u * lane + j;
            if (first_t + i < params.queries && column < WIDTH) {
                let row = b * params.queries + first_t + i;
                out[(row * params.heads + head) * WIDTH + column] = sums[i][j] / total[i];
            }
        }
    }
}
