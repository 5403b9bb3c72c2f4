// Logits as the choice of the next token sees them: with NORMALIZE their log-softmax first, then
// the repetition penalty on the tokens of the row's history up to `position`, then the banned
// tokens lowered out of reach: `ban_count` indices row * width + token.
//
// One workgroup a row of `width`. Needs reduce.wgsl and token_history.wgsl of shaders/parts.
// Constants: WORKGROUP, a power of two. Flags: NORMALIZE.
struct Params { rows: u32, width: u32, ban_count: u32, penalty: f32 }

@group(0) @binding(auto) var<storage, read_write> logits: array<f32>;
@group(0) @binding(auto) var<storage, read_write> history: array<u32>;
@group(0) @binding(auto) var<storage, read_write> position: array<u32>;
@group(0) @binding(auto) var<storage, read_write> bans: array<u32>;
@group(0) @binding(auto) var<storage, read_write> out: array<f32>;
@group(0) @binding(auto) var<uniform> params: Params;

const LOWEST: f32 = -3.4028234e38;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let row = id.x + id.y * count.x;
    if (row >= params.rows) { return; }
    let first = row * params.width;
    var largest = 0.0;
    var log_total = 0.0;
//#if NORMALIZE
    largest = LOWEST;
    for (var i = local; i < params.width; i += WORKGROUP) {
        largest = max(largest, logits[first + i]);
    }
    largest = largest_of_all(local, largest);
    var total = 0.0;
    for (var i = local; i < params.width; i += WORKGROUP) {
        total += exp(logits[first + i] - largest);
    }
    log_total = log(sum_of_all(local, total));
//#endif
    for (var i = local; i < params.width; i += WORKGROUP) {
        out[first + i] = logits[first + i] - largest - log_total;
    }
    storageBarrier();
    // A token that occurs twice is written twice with the same value: read from `logits`, it is
    // penalised once.
    for (var i = local; i <= position[0]; i += WORKGROUP) {
        let token = token_at(i, row, params.rows);
        if (token < params.width) {
            let value = logits[first + token] - largest - log_total;
            out[first + token] = select(value / params.penalty, value * params.penalty, value < 0.0);
        }
    }
    storageBarrier();
    for (var i = local; i < params.ban_count; i += WORKGROUP) {
        let at = bans[i];
        if (at >= first && at - first < params.width) { out[at] = LOWEST; }
    }
}
