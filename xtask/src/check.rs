//! `cargo xtask check`: what must be clean before a commit, the quickest first.

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::{audit, tools};

const WASM: &str = "wasm32-unknown-unknown";

pub fn run() -> Result<()> {
    let mut steps = Steps::default();
    steps.run("format", || cargo(&["fmt", "--all", "--check"]));
    steps.run("types of the JavaScript", || {
        let tsc = tools::npm_file("typescript/bin/tsc")?;
        tools::run(tools::node()?.arg(tsc).args(["--project", "jsconfig.json"]))
    });
    steps.run("lints, native", || {
        each_package(|package| {
            cargo(&["clippy", "--locked", "-p", package, "--all-targets", "--", "-D", "warnings"])
        })
    });
    steps.run("lints, wasm32", || {
        cargo(&["clippy", "--locked", "--lib", "--target", WASM, "--", "-D", "warnings"])
    });
    steps.run("docs", || {
        each_package(|package| {
            let mut doc = tools::cargo();
            doc.args(["doc", "--locked", "-p", package, "--no-deps"]);
            tools::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        })
    });
    steps.run("unit tests", || {
        let mut test = tools::cargo();
        test.args(["test", "--locked", "--lib", "--bins"]);
        tools::without_desktop(&mut test);
        if let Some(driver) = tools::lavapipe() {
            test.env("VK_DRIVER_FILES", driver);
        }
        tools::run(&mut test)
    });
    steps.run("licences, bans and sources of the crates", audit::licences);
    steps.run("sources of the npm packages", audit::npm_sources);
    steps.print();
    match steps.failed() {
        0 => Ok(()),
        failed => bail!("{failed} of the steps failed"),
    }
}

fn each_package(mut run: impl FnMut(&str) -> Result<()>) -> Result<()> {
    tools::PACKAGES.into_iter().try_for_each(&mut run)
}

fn cargo(args: &[&str]) -> Result<()> {
    tools::run(tools::cargo().args(args))
}
