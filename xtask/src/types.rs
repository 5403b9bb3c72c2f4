//! `cargo xtask types`: writes `www/engine/knobs.d.ts` from the table in `src/config/knobs.rs`.

use anyhow::Result;

use crate::tools;

/// The unit test that compares the two writes the file first.
pub fn run() -> Result<()> {
    let mut test = tools::cargo();
    test.args(["test", "--locked", "--package", "instructblip-web", "--lib", "types_of_the_page"]);
    tools::run(test.env("INSTRUCTBLIP_WRITE_TYPES", "1"))
}
