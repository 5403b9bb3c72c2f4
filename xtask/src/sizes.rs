//! `cargo xtask build --sizes`: what the module is made of, by crate.

use std::collections::BTreeMap;

use crate::wasm::Module;

/// Crates of generic code, which belongs to the crate that uses it.
const GENERIC: [&str; 4] = ["alloc", "core", "hashbrown", "std"];
/// Smaller crates are summed up.
const SHOWN_BYTES: usize = 8 << 10;

/// A Markdown table: bytes of code by crate, largest first, and the data.
pub fn table(module: &Module<'_>) -> String {
    let mut crates: BTreeMap<&str, usize> = BTreeMap::new();
    for function in &module.functions {
        *crates.entry(crate_of(&function.name)).or_default() += function.body.len();
    }
    let code: usize = crates.values().sum();
    let (mut large, small): (Vec<_>, Vec<_>) =
        crates.into_iter().partition(|(_, bytes)| *bytes >= SHOWN_BYTES);
    large.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let rest = format!("{} smaller ones", small.len());
    large.push((&rest, small.iter().map(|(_, bytes)| bytes).sum()));
    let rows = large.iter().map(|(name, bytes)| {
        format!("| {name} | {:.1} | {:.1} % |\n", kb(*bytes), 100.0 * *bytes as f64 / code as f64)
    });
    let head = "| crate | KB of code | share |\n|---|---|---|\n";
    let sum = format!("| all code | {:.1} | |\n| data | {:.1} | |\n", kb(code), kb(module.data()));
    [head.to_owned(), rows.collect(), sum].concat()
}

fn kb(bytes: usize) -> f64 {
    bytes as f64 / 1e3
}

/// The crate that a function belongs to: that of its type or path, or the first one in its
/// parameters where it is generic code of the standard library.
fn crate_of(function: &str) -> &str {
    let mut standard = None;
    for (at, _) in function.match_indices("::") {
        let start = function[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_');
        let start = start.map_or(0, |before| before + 1);
        let inside = function[..start].ends_with("::");
        let name = &function[start..at];
        if inside || !name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') {
            continue;
        }
        if !GENERIC.contains(&name) {
            return name;
        }
        standard.get_or_insert(name);
    }
    standard.unwrap_or("others")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_crates() {
        for (function, owner) in [
            ("burn_cubecl::kernel::cast::cast", "burn_cubecl"),
            ("<pliron::op::Op as core::fmt::Debug>::fmt", "pliron"),
            ("<alloc::vec::Vec<T> as wgpu::Thing>::drop", "wgpu"),
            ("<&T as core::fmt::Debug>::fmt", "core"),
            ("core::ptr::drop_in_place<image::Rgb>", "image"),
            ("__wasm_call_ctors", "others"),
        ] {
            assert_eq!(crate_of(function), owner, "{function}");
        }
    }
}
