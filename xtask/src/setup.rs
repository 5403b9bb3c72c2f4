//! `cargo xtask setup`: everything the other commands need beyond rustup and Node.

use std::fs;

use anyhow::Result;

use crate::tools;

/// For the tests and `demo --check`; the page itself needs neither.
const PACKAGES: [&str; 3] = ["chromium", "libvulkan1", "mesa-vulkan-drivers"];

/// Adds the wasm target, the npm packages, and the system packages where that is ours to do.
pub fn run() -> Result<()> {
    let mut rustup = tools::command("rustup");
    rustup.args(["target", "add", "wasm32-unknown-unknown"]);
    tools::run(&mut rustup)?;
    tools::node()?;
    // No package needs a script of its own to be installed, so none runs one.
    tools::run(tools::npm().args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
    system_packages()?;
    println!("\nReady. Next: cargo xtask demo");
    Ok(())
}

fn system_packages() -> Result<()> {
    if tools::chromium().is_some() && (!cfg!(target_os = "linux") || tools::lavapipe().is_some()) {
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", PACKAGES.join(" "));
    if !is_debian() {
        let what = if cfg!(target_os = "macos") {
            "brew install --cask chromium".to_owned()
        } else if cfg!(target_os = "linux") {
            "the packages of your distribution for Chromium and for Mesa's software Vulkan driver (lavapipe)".to_owned()
        } else {
            "Chrome or Chromium, and set CHROMIUM to the path of its program".to_owned()
        };
        println!("\nThe tests and `demo --check` also need a browser. Install: {what}");
        return Ok(());
    }
    if !is_root() {
        println!(
            "\nThe tests and `demo --check` also need a browser and a software GPU:\n  sudo {install}"
        );
        return Ok(());
    }
    let mut update = tools::command("apt-get");
    tools::run(update.arg("update"))?;
    let mut command = tools::command("apt-get");
    command.args(install.split(' ').skip(1)).env("DEBIAN_FRONTEND", "noninteractive");
    tools::run(&mut command)
}

fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release
        .lines()
        .filter(|line| line.starts_with("ID=") || line.starts_with("ID_LIKE="))
        .any(|line| line.contains("debian"))
}

fn is_root() -> bool {
    let output = tools::command("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
