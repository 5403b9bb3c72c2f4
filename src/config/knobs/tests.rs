#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::*;

/// The types that JavaScript sees.
fn types() -> String {
    let mut options = String::new();
    for knob in KNOBS {
        let kind = match knob.kind {
            Kind::Count(_) | Kind::Number(_) | Kind::Seed => "number",
            Kind::Flag(_) => "boolean",
            Kind::Texts => "string[]",
        };
        let (help, name) = (knob.help(), knob.option());
        write!(options, "\n  /** {help}. */\n  {name}?: {kind};").unwrap();
    }
    format!(
        r#"// Written by `cargo xtask types` from the table in src/config/knobs.rs.

/** How to answer. What is left out is the checkpoint's own setting, then that of `transformers`. */
export interface AskOptions {{{options}
  /** Whether the Q-Former reads the question, if it can [default: true]. */
  instructionAware?: boolean;
}}

/** A knob of `AskOptions` as a page shows it. */
export interface Knob {{
  /** As in `transformers`: the option in snake case. */
  name: string;
  kind: "count" | "number" | "flag" | "seed" | "texts";
  /** What holds unless told otherwise, of a count, a number or a flag. */
  default?: number | boolean;
  group: string;
  hint: string;
  /** Of a count, a number or a seed. */
  slider: [min: number, max: number, step: number] | null;
  /** It does nothing without sampling, with it, or without several beams. */
  needs: "sampling" | "search" | "beams" | null;
}}

/** What a page offers for a question. */
export interface Controls {{
  /** Group by group. */
  knobs: Knob[];
  limits: {{
    /** Pictures of a question. */
    pictures: number;
  }};
}}
"#
    )
}

/// Writes them where `INSTRUCTBLIP_WRITE_TYPES` is set, as `cargo xtask types` does.
#[test]
fn the_types_of_the_page_are_those_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/engine/knobs.d.ts");
    if std::env::var_os("INSTRUCTBLIP_WRITE_TYPES").is_some() {
        std::fs::write(&path, types()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == types(), "{} is stale: run `cargo xtask types`", path.display());
}

#[test]
fn the_names_in_javascript_are_those_of_the_table() {
    let json = serde_json::to_value(AskOptions::default()).unwrap();
    let found: BTreeSet<String> = json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(found, KNOBS.iter().map(Knob::option).collect());
    let json = serde_json::to_value(GenerationConfig::default()).unwrap();
    let names: BTreeSet<&str> = KNOBS.iter().map(|knob| knob.name).collect();
    assert!(json.as_object().unwrap().keys().all(|name| names.contains(name.as_str())));
}

#[test]
fn defaults_and_the_page_lie_within_the_ranges() {
    Settings { do_sample: true, ..Settings::default() }.check().unwrap();
    for knob in KNOBS {
        assert!(!knob.doc.is_empty() && !knob.hint.is_empty(), "{}", knob.name);
        let default = match knob.kind {
            Kind::Count(value) => Some(value.number()),
            Kind::Number(value) => Some(value.number()),
            Kind::Flag(_) | Kind::Seed | Kind::Texts => None,
        };
        let shown = !matches!(knob.kind, Kind::Flag(_) | Kind::Texts);
        assert_eq!(knob.slider.is_some(), shown, "{}", knob.name);
        if let Some([least, most, step]) = knob.slider {
            assert!(knob.range.holds(least) && knob.range.holds(most), "{}", knob.name);
            assert!(step > 0.0 && least < most, "{}", knob.name);
            assert!(default.is_none_or(|value| (least..=most).contains(&value)), "{}", knob.name);
        }
        if let Some(default) = default {
            assert!(knob.range.holds(default) && knob.file.holds(default), "{}", knob.name);
        }
    }
}

#[test]
fn a_knob_is_told_to_the_page() {
    let told = |name: &str| {
        serde_json::to_value(KNOBS.iter().find(|knob| knob.name == name).unwrap()).unwrap()
    };
    let beams = told("num_beams");
    assert_eq!((&beams["kind"], &beams["default"]), (&"count".into(), &1.into()));
    assert_eq!(beams["slider"], serde_json::json!([1.0, 10.0, 1.0]));
    assert_eq!((&beams["group"], &beams["needs"]), (&"Search".into(), &"search".into()));
    assert_eq!(told("seed")["kind"], "seed");
    assert!(told("seed").get("default").is_none());
}

#[test]
fn ranges_hold_no_more_than_they_say() {
    assert!(!Range::Above(0.0).holds(0.0) && Range::Above(0.0).holds(0.1));
    assert!(!Range::Above(0.0).holds(1e-40), "a denormal number");
    for range in [Range::Any, Range::From(0.0), Range::Above(0.0), Range::AtMost(1.0)] {
        assert!(!range.holds(f64::NAN) && !range.holds(f64::INFINITY), "{range}");
    }
}
