// Attention of one query a text, the decoder's step, softmax computed online in f32:
// out[b, h, :] = sum_s softmax_s(q[b, h, :] . k[s, h, :] + bias[s - position, h]) v[s, h, :]
//
// With SELF keys and values lie in the cache [rows, capacity, 2 * heads * WIDTH], keys first; those
// of the tokens up to `position` are seen. With LINEAGE key s of text b is row s of the cache's
// entry lineage[b, s], so that beams reorder without copying. Without SELF all of k and v
// [keys, heads * WIDTH] is seen by all texts, and there is no bias.
//
// One workgroup computes one (head, text). Keys go by in chunks of WORKGROUP: every invocation
// scores one, then GROUPS groups of QUADS invocations add up their share of the values.
// Constants: WORKGROUP; WIDTH, the head width, at most 256. Flags: VECTOR (WIDTH is a multiple of
// 4), SELF, LINEAGE.
struct Params { heads: u32, keys: u32, capacity: u32 }

//#if VECTOR
@group(0) @binding(auto) var<storage, read_write> q: array<vec4<f32>>;
//#if SELF
@group(0) @binding(auto) var<storage, read_write> cache: array<vec4<f32>>;
//#else
@group(0) @binding(auto) var<storage, read_write> k: array<vec4<f32>>;
@group(0) @binding(auto) var<storage, read_write> v: array<vec4<f32>>;
//#endif
//#else
@group(0) @binding(auto) var<storage, read_write> q: array<f32>;
//#if SELF
@group(0) @binding(auto) var<storage, read_write> cache: array<f32>;
//#else
@group(0) @binding(auto) var<storage, read_write> k: array<f32>;
@group(0) @binding(auto) var<storage, read_write> v: array<f32>;
//#endif
//#endif
//#if SELF
// [distance, head]; the last row is distance 0.
@group(0) @binding(auto) var<storage, read_write> bias: array<f32>;
@group(0) @binding(auto) var<storage, read_write> position: array<u32>;
//#if LINEAGE
// [text, key]
@group(0) @binding(auto) var<storage, read_write> lineage: array<u32>;
//#endif
//#endif
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

const QUADS: u32 = (WIDTH + 3u) / 4u;
const GROUPS: u32 = WORKGROUP / QUADS;
const LOWEST: f32 = -3.4e38;

var<workgroup> length: u32;
var<workgroup> query: array<vec4<f32>, QUADS>;
var<workgroup> scores: array<f32, WORKGROUP>;
var<workgroup> sums: array<vec4<f32>, WORKGROUP>;
var<workgroup> totals: array<f32, WORKGROUP>;

// Values 4 * quad.. of the head that starts at `first`; zero beyond its width.
fn query4(first: u32, quad: u32) -> vec4<f32> {
//#if VECTOR
    return q[first / 4u + quad];
//#else
    var values = vec4<f32>();
    for (var i = 0u; i < 4u && quad * 4u + i < WIDTH; i++) { values[i] = q[first + quad * 4u + i]; }
    return values;
//#endif
}

fn key4(first: u32, quad: u32) -> vec4<f32> {
//#if VECTOR
//#if SELF
    return cache[first / 4u + quad];
//#else
    return k[first / 4u + quad];
//#endif
//#else
    var values = vec4<f32>();
    for (var i = 0u; i < 4u && quad * 4u + i < WIDTH; i++) {
//#if SELF
        values[i] = cache[first + quad * 4u + i];
//#else
        values[i] = k[first + quad * 4u + i];
//#endif
    }
    return values;
//#endif
}

fn value4(first: u32, quad: u32) -> vec4<f32> {
//#if SELF
    return key4(first + params.heads * WIDTH, quad);
//#else
//#if VECTOR
    return v[first / 4u + quad];
//#else
    var values = vec4<f32>();
    for (var i = 0u; i < 4u && quad * 4u + i < WIDTH; i++) { values[i] = v[first + quad * 4u + i]; }
    return values;
//#endif
//#endif
}

// Where the key s of text b begins.
fn key_at(b: u32, s: u32, head: u32) -> u32 {
//#if SELF
//#if LINEAGE
    let entry = lineage[b * params.capacity + s];
//#else
    let entry = b;
//#endif
    return ((entry * params.capacity + s) * 2u * params.heads + head) * WIDTH;
//#else
    return (s * params.heads + head) * WIDTH;
//#endif
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let head = id.x;
    let b = id.y;
//#if SELF
    if (local == 0u) { length = position[0] + 1u; }
    let keys = workgroupUniformLoad(&length);
//#else
    let keys = params.keys;
//#endif
    let q_at = (b * params.heads + head) * WIDTH;
    if (local < QUADS) { query[local] = query4(q_at, local); }
    workgroupBarrier();

    let quad = local % QUADS;
    let group = local / QUADS;
    var largest = LOWEST;
    var total = 0.0;
    var sum = vec4<f32>();
    for (var chunk = 0u; chunk < keys; chunk += WORKGROUP) {
        let s = chunk + local;
        var score = LOWEST;
        if (s < keys) {
            let k_at = key_at(b, s, head);
            var products = vec4<f32>();
            for (var i = 0u; i < QUADS; i++) { products += query[i] * key4(k_at, i); }
            score = dot(products, vec4<f32>(1.0));
//#if SELF
            score += bias[(params.capacity - keys + s) * params.heads + head];
//#endif
        }
        scores[local] = score;
        workgroupBarrier();
        let count = min(WORKGROUP, keys - chunk);
        var next = largest;
        for (var i = 0u; i < count; i++) { next = max(next, scores[i]); }
        workgroupBarrier();
        scores[local] = exp(score - next);
        workgroupBarrier();
        let shrink = exp(largest - next);
        largest = next;
        sum *= shrink;
        total *= shrink;
        if (group < GROUPS) {
            for (var i = group; i < count; i += GROUPS) {
                total += scores[i];
                sum += scores[i] * value4(key_at(b, chunk + i, head), quad);
            }
        }
        workgroupBarrier();
    }
    sums[local] = sum;
    totals[local] = total;
    workgroupBarrier();
    if (local < QUADS) {
        for (var i = 1u; i < GROUPS; i++) {
            sum += sums[local + i * QUADS];
            total += totals[local + i * QUADS];
        }
        for (var i = 0u; i < 4u && quad * 4u + i < WIDTH; i++) {
            out[q_at + quad * 4u + i] = sum[i] / total;
        }
    }
}
