//! Finding and running other programs; an absent one is answered with the line to type.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Built one by one: `--workspace` would unite their features and compile Burn a second time.
pub const PACKAGES: [&str; 2] = ["instructblip-web", "xtask"];

/// Where there is no desktop, Vulkan's layers say so at every device that is opened; a folder that
/// cannot exist says the same to them silently, as `instructblip` has it for itself.
pub fn without_desktop(command: &mut Command) {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", "/dev/null/no-desktop");
    }
}

/// The repository's root: above the folder of this crate, which `cargo run` names.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// A command that runs in the repository's root.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Node, which must be there in version 20 or later.
pub fn node() -> Result<Command> {
    let hint = "Install Node 20 or later (https://nodejs.org).";
    let output = command("node")
        .arg("--version")
        .output()
        .with_context(|| format!("`node` was not found. {hint}"))?;
    let version = String::from_utf8_lossy(&output.stdout);
    let major = version.trim().trim_start_matches('v').split('.').next();
    let major: u32 = major.and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < 20 {
        bail!("`node` is version {}. {hint}", version.trim());
    }
    Ok(command("node"))
}

/// npm, by the name it has on this system.
pub fn npm() -> Command {
    command(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

/// A file of an npm package.
pub fn npm_file(path: &str) -> Result<PathBuf> {
    let file = root().join("node_modules").join(path);
    if !file.exists() {
        bail!("{} is missing. Run `cargo xtask setup`.", file.display());
    }
    Ok(file)
}

/// Runs a command to its end; its output is seen.
pub fn run(command: &mut Command) -> Result<()> {
    let name = describe(command);
    let status = command.status().with_context(|| format!("could not start `{name}`"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// The command as a person would type it.
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// The browser for the tests; the same places as in tests/browser/harness.mjs.
pub fn chromium() -> Option<PathBuf> {
    let known = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ];
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    named.into_iter().chain(known.map(PathBuf::from)).find(|path| path.exists())
}

/// The description file of Mesa's software Vulkan driver.
pub fn lavapipe() -> Option<PathBuf> {
    let folder = std::fs::read_dir("/usr/share/vulkan/icd.d").ok()?;
    let mut files: Vec<_> = folder
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("lvp_icd") && name.ends_with(".json")
        })
        .collect();
    files.sort();
    files.into_iter().next()
}
