//! `cargo xtask types`: writes the JavaScript side's types, `www/engine/{knobs,types}.d.ts`, from
//! the table in `src/config/knobs.rs` and from the types in Rust.

use anyhow::Result;

use crate::tools;

/// The tests that compare them write the files first.
pub fn run() -> Result<()> {
    let mut test = tools::cargo();
    test.args(["test", "--locked", "--package", "instructblip-web", "--lib", "--test", "types"]);
    tools::run(test.arg("types_of_the_page").env("INSTRUCTBLIP_WRITE_TYPES", "1"))
}
