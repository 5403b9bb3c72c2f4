// Where attention looks, averaged over heads:
// out[t, s] = mean_h softmax_s(scale * q[t, h, :] . k[s, h, :])
//
// One workgroup computes one row t. It goes over the keys twice for every head: for the largest
// score and the sum of exponentials, then for the probabilities; scores are computed again rather
// than kept, so any number of keys fits. Only run when someone wants to see the map.
// Constants: WORKGROUP, a power of two; WIDTH, the head width.
struct Params { heads: u32, keys: u32, scale: f32 }

@group(0) @binding(auto) var<storage, read_write> q: array<f32>; // [queries, heads * WIDTH]
@group(0) @binding(auto) var<storage, read_write> k: array<f32>; // [keys, heads * WIDTH]
@group(0) @binding(auto) var<storage, read_write> out: array<f32>; // [queries, keys]
@group(0) @binding(auto) var<uniform> params: Params;

var<workgroup> query: array<f32, WIDTH>;
var<workgroup> largest: array<f32, WORKGROUP>;
var<workgroup> total: array<f32, WORKGROUP>;

fn score(s: u32, head: u32) -> f32 {
    let at = (s * params.heads + head) * WIDTH;
    var sum = 0.0;
    for (var i = 0u; i < WIDTH; i++) { sum += query[i] * k[at + i]; }
    return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let t = id.x;
    for (var head = 0u; head < params.heads; head++) {
        let q_at = (t * params.heads + head) * WIDTH;
        for (var i = local; i < WIDTH; i += WORKGROUP) { query[i] = q[q_at + i] * params.scale; }
        workgroupBarrier();

        // An invocation without keys keeps a largest score so low that its sum counts nothing.
        var top = -3.4e38;
        var sum = 0.0;
        for (var s = local; s < params.keys; s += WORKGROUP) {
            let value = score(s, head);
            let next = max(top, value);
            sum = sum * exp(top - next) + exp(value - next);
            top = next;
        }
        largest[local] = top;
        total[local] = sum;
        workgroupBarrier();
        for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
            if (local < half) {
                let next = max(largest[local], largest[local + half]);
                total[local] = total[local] * exp(largest[local] - next)
                    + total[local + half] * exp(largest[local + half] - next);
                largest[local] = next;
            }
            workgroupBarrier();
        }

        for (var s = local; s < params.keys; s += WORKGROUP) {
            let probability = exp(score(s, head) - largest[0]) / total[0];
            let before = select(out[t * params.keys + s], 0.0, head == 0u);
            out[t * params.keys + s] = before + probability / f32(params.heads);
        }
        workgroupBarrier();
    }
}
