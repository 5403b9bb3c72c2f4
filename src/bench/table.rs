//! A [`BenchReport`] as Markdown tables.

use std::fmt::Write;

use super::{BenchReport, Product, Row, Spread};

/// The whole report.
#[must_use]
pub fn render(report: &BenchReport) -> String {
    let mut out = String::new();
    let BenchReport { model, machine, options, floors, .. } = report;
    // Writing to a string does not fail.
    let _ = writeln!(out, "### {model}: {}\n", machine.adapter);
    let _ = writeln!(out, "{}; {}; {}.\n", machine.driver, machine.host, machine.build);
    let _ = writeln!(
        out,
        "Copy {} GB/s, multiply-adds {} GFLOP/s, dispatch {} us; {} bare dispatches in one pass: host {} ms, in all {} ms.\n",
        plain(floors.copy_gb_per_s),
        plain(floors.fma_gflop_per_s),
        plain(floors.dispatch_us),
        floors.bare_dispatches,
        plain(floors.bare_token_host_ms),
        plain(floors.bare_token_ms),
    );
    out.push_str(
        "| stage | ms (min..max) | host ms | GPU ms | moved MB | weights MB | GFLOP | dispatches | submits | reads (waited for) | floor ms | over it | with dispatches ms | over it |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in report.stages.iter().chain([&report.token]) {
        stage(&mut out, row);
    }
    let host = report.token.host_ms;
    let _ = write!(
        out,
        "\n{} tokens/s. A token keeps the host inside calls for {} ms",
        spread(report.tokens_per_second),
        spread(host),
    );
    let _ = match report.token_by_hand_host_ms {
        Some(by_hand) => writeln!(
            out,
            "; encoding and submitting the same dispatches by hand for {} ms: {} times that.",
            spread(by_hand),
            digits(host.median / by_hand.median),
        ),
        None => writeln!(out, "; the same dispatches by hand were not measured."),
    };
    if !options.vision {
        out.push_str("\nThe vision tower was left out.\n");
    }
    if !report.kernels.is_empty() {
        out.push_str(
            "\n| q4 product | m x n x k | us (min..max) | GB/s | of copy | GFLOP/s | of multiply-adds |\n|---|---|---|---|---|---|---|\n",
        );
    }
    for row in &report.kernels {
        product(&mut out, row);
    }
    out
}

/// What changed between two reports on the same model.
#[must_use]
pub fn compare(before: &BenchReport, after: &BenchReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "### {}: {}\n", after.model, after.machine.adapter);
    out.push_str(
        "| | dispatches | before ms (min..max) | over floor | dispatches | after ms (min..max) | over floor | times faster |\n|---|---|---|---|---|---|---|---|\n",
    );
    let rows = |report: &BenchReport| [report.stages.clone(), vec![report.token.clone()]].concat();
    for (old, new) in pairs(&rows(before), &rows(after), |row| row.name.clone()) {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            new.name,
            digits(old.each.dispatches),
            spread(old.milliseconds),
            digits(old.over_floor),
            digits(new.each.dispatches),
            spread(new.milliseconds),
            digits(new.over_floor),
            digits(old.milliseconds.median / new.milliseconds.median),
        );
    }
    let products = pairs(&before.kernels, &after.kernels, |row| (row.m, row.n, row.k));
    if !products.is_empty() {
        out.push_str(
            "\n| q4 product | before us (min..max) | of copy | of multiply-adds | after us (min..max) | of copy | of multiply-adds | times faster |\n|---|---|---|---|---|---|---|---|\n",
        );
    }
    for (old, new) in products {
        let _ = writeln!(
            out,
            "| {} x {} x {} | {} | {} % | {} % | {} | {} % | {} % | {} |",
            new.m,
            new.n,
            new.k,
            spread(old.microseconds),
            digits(100.0 * old.of_copy),
            digits(100.0 * old.of_fma),
            spread(new.microseconds),
            digits(100.0 * new.of_copy),
            digits(100.0 * new.of_fma),
            digits(old.microseconds.median / new.microseconds.median),
        );
    }
    out
}

/// The rows that both have, in the order of the second.
fn pairs<T: Clone, K: PartialEq>(before: &[T], after: &[T], key: impl Fn(&T) -> K) -> Vec<(T, T)> {
    let old = |new: &T| before.iter().find(|old| key(old) == key(new));
    after.iter().filter_map(|new| Some((old(new)?.clone(), new.clone()))).collect()
}

fn stage(out: &mut String, row: &Row) {
    let each = &row.each;
    let _ = writeln!(
        out,
        "| {}{} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        row.name,
        if row.cold { " (first run)" } else { "" },
        spread(row.milliseconds),
        plain(row.host_ms),
        row.gpu_ms.map_or_else(|| "n/a".to_owned(), plain),
        digits(each.bytes_moved / 1e6),
        digits(each.weight_bytes / 1e6),
        digits(each.flops / 1e9),
        digits(each.dispatches),
        digits(each.submits),
        format_args!("{} ({})", digits(each.readbacks), digits(each.waits)),
        digits(row.floor_ms),
        digits(row.over_floor),
        digits(row.dispatch_floor_ms),
        digits(row.over_dispatch_floor),
    );
}

fn product(out: &mut String, row: &Product) {
    let _ = writeln!(
        out,
        "| {} | {} x {} x {} | {} | {} | {} % | {} | {} % |",
        row.kernel,
        row.m,
        row.n,
        row.k,
        spread(row.microseconds),
        plain(row.gb_per_s),
        digits(100.0 * row.of_copy),
        plain(row.gflop_per_s),
        digits(100.0 * row.of_fma),
    );
}

fn spread(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{} ({}..{})", digits(median), digits(min), digits(max))
}

fn plain(spread: Spread) -> String {
    digits(spread.median)
}

/// Three digits that count.
fn digits(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        m if m >= 99.95 || m == 0.0 => 0,
        m if m >= 9.995 => 1,
        m if m >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    // A count is written as one.
    if value.fract() == 0.0 { format!("{value}") } else { text }
}

#[cfg(test)]
mod unit {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::{BenchReport, digits, render};
    use serde_json::{Value, json};

    /// Reports of older programs lack a measurement, and took another one otherwise.
    #[test]
    fn what_was_not_measured_is_not_printed_as_zero() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance/native-after.json");
        let mut reports: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let report = &mut reports[0];
        let printed = |report: &Value| {
            render(&serde_json::from_value::<BenchReport>(report.clone()).unwrap())
        };
        report["floors"]["bareDispatches"] = 219.into();
        report["tokenByHandHostMs"] = json!({ "median": 2.0, "min": 1.0, "max": 4.0 });
        let new = printed(report);
        assert!(new.contains("; 219 bare dispatches in one pass"), "{new}");
        assert!(new.contains("by hand for 2 (1..4) ms"), "{new}");
        report["floors"].as_object_mut().unwrap().remove("bareDispatches");
        report.as_object_mut().unwrap().remove("tokenByHandHostMs");
        let old = printed(report);
        assert!(old.contains("; 195 bare dispatches in one pass"), "{old}");
        assert!(old.contains("the same dispatches by hand were not measured."), "{old}");
        assert!(!old.contains("inf times"), "{old}");
    }

    #[test]
    fn figures_have_three_digits() {
        let written = [1234.5, 99.97, 12.34, 3.256, 0.0456, 0.0, 7.0, 8192.0].map(digits);
        assert_eq!(written, ["1234", "100", "12.3", "3.26", "0.046", "0", "7", "8192"]);
    }
}
