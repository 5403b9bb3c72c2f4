//! The layout of checkpoints against the published one (with the oracle).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use instructblip_web::convert::describe;
use instructblip_web::convert::synth::named_config;
use instructblip_web::models::ModelConfig;

#[test]
#[ignore = "needs INSTRUCTBLIP_ORACLE"]
fn all_names_and_shapes_are_the_published_ones() {
    let oracle = std::env::var_os("INSTRUCTBLIP_ORACLE").expect("INSTRUCTBLIP_ORACLE is set");
    let bytes = std::fs::read(PathBuf::from(oracle).join("data/real_param_shapes.json")).unwrap();
    let published: BTreeMap<String, Vec<usize>> = serde_json::from_slice(&bytes).unwrap();
    let config = ModelConfig::parse(&named_config("flan-t5-xl").unwrap()).unwrap();
    let description = describe(&config).unwrap();
    let ours =
        description.wanted().iter().map(|wanted| (wanted.name.clone(), wanted.shape.clone()));
    assert_eq!(ours.collect::<BTreeMap<_, _>>(), published);
}
