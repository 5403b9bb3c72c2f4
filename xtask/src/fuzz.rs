//! `cargo xtask fuzz`: damaged files of every kind, natively or in headless Chromium.
//!
//! The inputs come from a seed, which is printed: the same seed makes the same inputs. What an
//! input may do is said in `tests/fuzz.rs` and `tests/browser/fuzz.test.mjs`, which the tests run
//! with fewer of them. Inputs that fail are saved in `target/fuzz`.

use anyhow::{Result, bail};

use crate::{build, tools};

#[derive(clap::Args)]
pub struct Args {
    /// How many inputs, of all kinds together [default: 20000, in the browser 1000]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Where the inputs come from [default: the time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Load damaged models in headless Chromium, not natively
    #[arg(long)]
    browser: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = args.seed.unwrap_or(now.as_secs());
    let count = args.count.unwrap_or(if args.browser { 1000 } else { 20_000 });
    let mut fuzz = if args.browser {
        if tools::chromium().is_none() {
            bail!("No Chromium was found. Run `cargo xtask setup`, or fuzz without --browser.");
        }
        build::run(&build::Args::default())?;
        let mut node = tools::node()?;
        node.args(["--test", "tests/browser/fuzz.test.mjs"]).env_remove("VK_DRIVER_FILES");
        node
    } else {
        let mut cargo = tools::cargo();
        cargo.args(["test", "--locked", "--package", "instructblip-web", "--test", "fuzz"]);
        cargo.args(["--", "--nocapture"]);
        cargo
    };
    println!("{count} inputs, seed {seed}");
    fuzz.env("INSTRUCTBLIP_FUZZ", count.to_string());
    fuzz.env("INSTRUCTBLIP_FUZZ_SEED", seed.to_string());
    tools::run(&mut fuzz)
}
