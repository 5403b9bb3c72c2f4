// Activation functions, chosen by the constant ACTIVATION: 0 none, 1 gelu (erf), 2 gelu (tanh
// form, "gelu_new"), 3 relu, 4 silu.

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

fn activate(x: f32) -> f32 {
    if (ACTIVATION == 1u) { return 0.5 * x * (1.0 + erf(x * 0.7071067811865476)); }
    if (ACTIVATION == 2u) {
        // tanh written with exp of a clamped argument: some drivers' tanh overflows.
        let inner = clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), -20.0, 20.0);
        return x - x / (1.0 + exp(2.0 * inner));
    }
    if (ACTIVATION == 3u) { return max(x, 0.0); }
    if (ACTIVATION == 4u) { return x / (1.0 + exp(-x)); }
    return x;
}
