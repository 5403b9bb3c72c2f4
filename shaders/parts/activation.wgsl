// What the activation functions are made of; activate() itself comes from the table in
// src/kernels/activation.rs.

// erf to a few units in the last place of f32: a ratio of odd/even polynomials on [-4, 4],
// the coefficients are those used by Eigen and XLA.
fn erf(value: f32) -> f32 {
    let x = clamp(value, -4.0, 4.0);
    let s = x * x;
    var p = -2.72614225801306e-10;
    p = p * s + 2.77068142495902e-08;
    p = p * s - 2.10102402082508e-06;
    p = p * s - 5.69250639462346e-05;
    p = p * s - 7.34990630326855e-04;
    p = p * s - 2.95459980854025e-03;
    p = p * s - 1.60960333262415e-02;
    var q = -1.45660718464996e-05;
    q = q * s - 2.13374055278905e-04;
    q = q * s - 1.68282697438203e-03;
    q = q * s - 7.37332916720468e-03;
    q = q * s - 1.42647390514189e-02;
    return x * p / q;
}

// exp of a clamped argument: WGSL leaves open what comes of one that overflows.
fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(-clamp(x, -80.0, 80.0)));
}
