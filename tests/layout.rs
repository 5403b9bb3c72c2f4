//! The layout of checkpoints against the published one: `fixtures/flan_t5_xl_shapes.json`, what
//! `tools/make_shapes.py` reads off the reference implementation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use instructblip_web::convert::describe;
use instructblip_web::convert::synth::named_config;
use instructblip_web::models::ModelConfig;

type Shapes = BTreeMap<String, Vec<usize>>;

/// One name for each number that `{0..38}` or `{0,2,4}` stands for.
fn unfold(folded: &Shapes) -> Shapes {
    let mut shapes = Shapes::new();
    for (name, shape) in folded {
        let Some((before, rest)) = name.split_once('{') else {
            shapes.insert(name.clone(), shape.clone());
            continue;
        };
        let (numbers, after) = rest.split_once('}').unwrap();
        let number = |text: &str| text.parse::<usize>().unwrap();
        let numbers: Vec<usize> = match numbers.split_once("..") {
            Some((first, last)) => (number(first)..=number(last)).collect(),
            None => numbers.split(',').map(number).collect(),
        };
        for number in numbers {
            let twice = shapes.insert(format!("{before}{number}{after}"), shape.clone());
            assert_eq!(twice, None, "{name}");
        }
    }
    shapes
}

#[test]
fn all_names_and_shapes_are_the_published_ones() {
    let folded = serde_json::from_str(include_str!("fixtures/flan_t5_xl_shapes.json")).unwrap();
    let published = unfold(&folded);
    assert_eq!(published.len(), 1363);
    let config = ModelConfig::parse(&named_config("flan-t5-xl").unwrap()).unwrap();
    let description = describe(&config).unwrap();
    let ours =
        description.wanted().iter().map(|wanted| (wanted.name.clone(), wanted.shape.clone()));
    assert_eq!(ours.collect::<Shapes>(), published);
}

#[test]
#[ignore = "needs INSTRUCTBLIP_ORACLE"]
fn the_fixture_is_what_the_oracle_says() {
    let oracle = std::env::var_os("INSTRUCTBLIP_ORACLE").expect("INSTRUCTBLIP_ORACLE is set");
    let path = std::path::PathBuf::from(oracle).join("data/real_param_shapes.json");
    let published: Shapes = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let folded = serde_json::from_str(include_str!("fixtures/flan_t5_xl_shapes.json")).unwrap();
    assert_eq!(unfold(&folded), published);
}
