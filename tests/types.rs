//! The types that JavaScript sees, `www/engine/types.d.ts`, written from those of Rust.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;
use std::path::Path;

use instructblip_web::bench::{BenchOptions, Machine};
use instructblip_web::generation::Stop;
use instructblip_web::loading::progress::{AboutInfo, ModelInfo, Phase, Progress};
use instructblip_web::prompt::{Filled, Prompt, Turn};
use instructblip_web::session::{
    Answer, AttentionMaps, Candidate, LayerMap, PictureInfo, PictureMap, RankOptions, Ranked,
    Statistics, TokenEvent,
};
use instructblip_web::verify::{IdsReport, Report, StageReport, VerifyOptions};
use ts_rs::{Config, TS};

macro_rules! declarations {
    ($config:expr; $($type:ty),* $(,)?) => {
        [$((<$type as TS>::docs(), <$type as TS>::decl($config))),*]
    };
}

fn types() -> String {
    // Counts and lengths cross the border as numbers: none comes near 2^53.
    let config = Config::new().with_large_int("number");
    let mut text = String::from("// Written by `cargo xtask types` from the types in src/.\n");
    for (docs, declaration) in declarations![&config;
        Phase, Progress, AboutInfo, ModelInfo, PictureInfo, TokenEvent, Stop, Candidate, Statistics, Answer,
        RankOptions, Ranked, LayerMap, PictureMap, AttentionMaps, Turn, Prompt, Filled,
        VerifyOptions, StageReport, IdsReport, Report, BenchOptions, Machine,
    ] {
        write!(text, "\n{}export {declaration}\n", docs.unwrap_or_default()).unwrap();
    }
    tidy(&text)
}

/// Members on lines of their own, indented; comments of one line on one line.
fn tidy(text: &str) -> String {
    let text = text.replace(", };", ",\n};").replace(", } ", ",\n} ");
    let mut lines: Vec<String> = Vec::new();
    let mut depth = 0;
    for line in text.lines().map(str::trim_end) {
        let (ends, begins) = (line.starts_with('}'), line.ends_with('{') || line.ends_with(','));
        depth = if ends { 0 } else { depth };
        let comment = line.trim_start().trim_start_matches('*').trim_start();
        match lines.last_mut().filter(|last| last.trim_start() == "/**") {
            Some(last) if line != "/**" => write!(last, " {comment}").unwrap(),
            _ => lines.push(format!("{}{line}", "  ".repeat(depth))),
        }
        depth = usize::from(begins || depth == 1);
    }
    lines.join("\n").replace("\n */", " */").replace("\n   */", " */") + "\n"
}

/// Writes them where `INSTRUCTBLIP_WRITE_TYPES` is set, as `cargo xtask types` does.
#[test]
fn the_types_of_the_page_are_those_of_rust() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/engine/types.d.ts");
    if std::env::var_os("INSTRUCTBLIP_WRITE_TYPES").is_some() {
        std::fs::write(&path, types()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == types(), "{} is stale: run `cargo xtask types`", path.display());
}
