// Sums and maxima over a workgroup. Every invocation must call them together; all get the result.
// Constants: WORKGROUP, a power of two.
var<workgroup> partial: array<f32, WORKGROUP>;

fn sum_of_all(local: u32, value: f32) -> f32 {
    partial[local] = value;
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (local < step) { partial[local] += partial[local + step]; }
    }
    workgroupBarrier();
    let result = partial[0];
    workgroupBarrier();
    return result;
}

fn largest_of_all(local: u32, value: f32) -> f32 {
    partial[local] = value;
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (local < step) { partial[local] = max(partial[local], partial[local + step]); }
    }
    workgroupBarrier();
    let result = partial[0];
    workgroupBarrier();
    return result;
}
