// Draws one token of each row: scores over the temperature, the top_k best, of these the most
// likely ones until their sum reaches top_p, then the token at which the running sum of their
// probabilities, in the order of ids, passes draws[row] in 0..1.
// It is written after `position`, with its log-probability among those left.
//
// Neither step sorts: a float's bits, made to order as integers, are searched bit by bit for the
// smallest threshold above which there are fewer than k tokens, or less than top_p of the sum.
// Equal scores stay or go together. One workgroup a row. Needs reduce.wgsl and token_history.wgsl
// of shaders/parts. Constants: WORKGROUP, a power of two.
struct Params { rows: u32, width: u32, top_k: u32, top_p: f32, temperature: f32 }

@group(0) @binding(auto) var<storage, read_write> scores: array<f32>;
@group(0) @binding(auto) var<storage, read_write> draws: array<f32>;
@group(0) @binding(auto) var<storage, read_write> position: array<u32>;
@group(0) @binding(auto) var<storage, read_write> history: array<u32>;
@group(0) @binding(auto) var<uniform> params: Params;

const LOWEST: f32 = -3.4028234e38;

var<workgroup> sums: array<f32, WORKGROUP>;

fn score(row: u32, i: u32) -> f32 {
    return max(scores[row * params.width + i] / params.temperature, LOWEST);
}

// Order as integers: of two floats the larger has the larger key.
fn key_of(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return bits ^ select(0x80000000u, 0xffffffffu, bits >= 0x80000000u);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
) {
    let row = id.x + id.y * count.x;
    if (row >= params.rows) { return; }
    let width = params.width;
    var own = LOWEST;
    for (var i = local; i < width; i += WORKGROUP) { own = max(own, score(row, i)); }
    let largest = largest_of_all(local, own);

    var threshold = 0u;
    if (params.top_k > 0u && params.top_k < width) {
        threshold = 0xffffffffu;
        for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
            let lower = threshold & ~bit;
            var above = 0.0;
            for (var i = local; i < width; i += WORKGROUP) {
                above += select(0.0, 1.0, key_of(score(row, i)) > lower);
            }
            if (sum_of_all(local, above) < f32(params.top_k)) { threshold = lower; }
        }
    }
    if (params.top_p < 1.0) {
        var mass = 0.0;
        for (var i = local; i < width; i += WORKGROUP) {
            let value = score(row, i);
            if (key_of(value) >= threshold) { mass += exp(value - largest); }
        }
        let limit = params.top_p * sum_of_all(local, mass);
        var nucleus = 0xffffffffu;
        for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
            let lower = nucleus & ~bit;
            var above = 0.0;
            for (var i = local; i < width; i += WORKGROUP) {
                let value = score(row, i);
                let key = key_of(value);
                if (key > lower && key >= threshold) { above += exp(value - largest); }
            }
            if (sum_of_all(local, above) < limit) { nucleus = lower; }
        }
        // The most likely token always stays.
        threshold = max(threshold, min(nucleus, key_of(largest)));
    }

    // Every invocation sums its own run of ids, so that the runs in turn are the order of ids.
    let run = (width + WORKGROUP - 1u) / WORKGROUP;
    var mass = 0.0;
    for (var i = local * run; i < min((local + 1u) * run, width); i++) {
        let value = score(row, i);
        if (key_of(value) >= threshold) { mass += exp(value - largest); }
    }
    sums[local] = mass;
    workgroupBarrier();
    if (local == 0u) {
        var total = 0.0;
        for (var i = 0u; i < WORKGROUP; i++) { total += sums[i]; }
        let target_sum = draws[row] * total;
        var passed = 0.0;
        var owner = 0u;
        // The last run with a token left takes what rounding leaves over.
        for (var i = 0u; i < WORKGROUP; i++) {
            if (sums[i] > 0.0) {
                owner = i;
                if (passed + sums[i] > target_sum) { break; }
                passed += sums[i];
            }
        }
        var chosen = 0u;
        for (var i = owner * run; i < min((owner + 1u) * run, width); i++) {
            let value = score(row, i);
            if (key_of(value) >= threshold) {
                chosen = i;
                passed += exp(value - largest);
                if (passed > target_sum) { break; }
            }
        }
        let log_probability = score(row, chosen) - largest - log(total);
        write_token(position[0] + 1u, row, params.rows, chosen, log_probability);
    }
}
