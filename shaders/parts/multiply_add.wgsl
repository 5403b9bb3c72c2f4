// Products of 4 x 4 matrices in registers, written so that each term is one multiply-add.

fn add_row(sum: vec4<f32>, x: vec4<f32>, w: mat4x4<f32>) -> vec4<f32> {
    return sum + x.x * w[0] + x.y * w[1] + x.z * w[2] + x.w * w[3];
}

// sum + w * x: column i of the sum is row i of the result.
fn multiply_add(sum: mat4x4<f32>, x: mat4x4<f32>, w: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        add_row(sum[0], x[0], w),
        add_row(sum[1], x[1], w),
        add_row(sum[2], x[2], w),
        add_row(sum[3], x[3], w),
    );
}
