//! One iteration of the benchmark on the pocket model: what it counts is what the model's sizes
//! imply, and what it says holds together. No time is asserted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::path::Path;

use instructblip_web::bench::{BenchOptions, BenchReport, Machine, Row, Spread, bench, table};
use instructblip_web::checkpoint::Folder;
use instructblip_web::gpu;
use instructblip_web::session::Session;

#[test]
fn one_iteration() {
    let device = gpu::open().expect("a wgpu adapter");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Folder::open(root.join("www/pocket")).unwrap();
    let session = Session::open(&folder, &device, |_| ()).unwrap();

    let run = |options: BenchOptions, progress: &dyn Fn(&str)| {
        let machine = Machine { adapter: "test".into(), ..Machine::default() };
        pollster::block_on(bench(&session, "pocket", machine, options, progress))
    };
    let options = BenchOptions { iterations: 1, tokens: 4, ..BenchOptions::default() };
    for refused in [
        BenchOptions { iterations: 0, ..options.clone() },
        BenchOptions { tokens: 1, ..options.clone() },
    ] {
        assert_eq!(run(refused, &|_| ()).unwrap_err().code(), "option-invalid");
    }

    let told = RefCell::new(Vec::new());
    let report = run(options, &|what| told.borrow_mut().push(what.to_owned())).unwrap();
    assert_eq!(told.borrow()[..2], ["floors", "vision"]);
    let names: Vec<&str> = report.stages.iter().map(|row| row.name.as_str()).collect();
    let expected = ["vision", "bridge", "prefill", "first token"];
    assert_eq!(names, expected);
    for row in report.stages.iter().chain([&report.token]) {
        check_row(row, &report);
    }

    // The Q-Former's 55 kernels and the projection.
    assert_eq!(report.stages[1].each.dispatches, 56.0);
    // Eleven in every encoder layer, around them the embedding, the table of the bias and a norm;
    // then every decoder layer's keys and values.
    let config: serde_json::Value = serde_json::from_slice(&folder.config().unwrap()).unwrap();
    let layers = |name: &str| config["text_config"][name].as_f64().unwrap();
    let expected = 11.0 * layers("num_layers") + 3.0 + 2.0 * layers("num_decoder_layers");
    assert_eq!(report.stages[2].each.dispatches, expected);
    assert_eq!(report.token.runs, 3, "the times between four tokens");
    assert!(report.token.each.submits >= 1.0);

    let floors = &report.floors;
    let rates =
        [floors.copy_gb_per_s, floors.fma_gflop_per_s, floors.dispatch_us, floors.bare_token_ms];
    rates.iter().for_each(check_spread);
    assert!(floors.bare_token_host_ms.median <= floors.bare_token_ms.median);
    assert_eq!(report.kernels.len(), 10);
    for product in &report.kernels {
        [product.microseconds, product.gb_per_s, product.gflop_per_s].iter().for_each(check_spread);
        assert_eq!(product.kernel, if product.m == 1 { "matvec" } else { "matmul" });
        let flops = 2.0 * f64::from(product.m) * f64::from(product.n) * f64::from(product.k);
        let rate = flops / product.microseconds.median / 1e3;
        assert!((rate / product.gflop_per_s.median - 1.0).abs() < 1e-9);
    }

    let json = serde_json::to_string(&report).unwrap();
    let read: BenchReport = serde_json::from_str(&json).unwrap();
    let tables = table::render(&read);
    assert_eq!(tables, table::render(&report));
    for name in names.iter().chain(&["token", "1 x 32128 x 2048", "257 x 6144 x 1408"]) {
        assert!(tables.contains(&format!("| {name} ")), "{name}:\n{tables}");
    }
}

fn check_spread(spread: &Spread) {
    let Spread { median, min, max } = *spread;
    assert!(0.0 < min && min <= median && median <= max && max.is_finite(), "{spread:?}");
}

fn check_row(row: &Row, report: &BenchReport) {
    check_spread(&row.milliseconds);
    let each = &row.each;
    assert!(row.runs > 0 && !row.cold, "{}", row.name);
    assert!(row.host_ms.median <= row.milliseconds.max, "{}", row.name);
    assert!(each.dispatches > 0.0 && each.flops > 0.0, "{}", row.name);
    assert!(0.0 < each.weight_bytes && each.weight_bytes < each.bytes_moved, "{}", row.name);
    assert!(each.readbacks <= 1.0, "{}", row.name);
    let floor = report.floors.milliseconds(each.bytes_moved, each.flops);
    assert_eq!(row.floor_ms, floor, "{}", row.name);
    assert!((row.over_floor * floor / row.milliseconds.median - 1.0).abs() < 1e-9);
    assert!(row.dispatch_floor_ms > floor && row.over_dispatch_floor < row.over_floor);
}
