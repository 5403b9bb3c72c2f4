//! The order of the modules: what `ARCHITECTURE.md` draws is what the code imports.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The floors of the drawing, from below: the lines between the fence after this heading and the
/// next fence.
fn floors() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, after) = text.split_once("## Order of the modules").expect("the heading");
    let drawing = after.split("```").nth(1).expect("a drawing");
    let names = |line: &str| -> Vec<String> {
        let line = line.split('—').next().unwrap_or_default();
        line.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let mut floors: Vec<Vec<String>> =
        drawing.lines().map(names).filter(|floor| !floor.is_empty()).collect();
    floors.reverse();
    floors
}

/// A module's path, `a::b`, and what its file holds but for comments and unit tests.
fn modules() -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let source = root().join("src");
    let mut files = Vec::new();
    walk(&source, &mut files);
    let mut modules = BTreeMap::new();
    for file in files {
        let name = file.strip_prefix(&source).unwrap().with_extension("");
        let mut parts: Vec<&str> = name.iter().map(|part| part.to_str().unwrap()).collect();
        if parts[0] == "bin" || parts == ["lib"] || parts.contains(&"tests") {
            continue;
        }
        if parts.last() == Some(&"mod") {
            parts.pop();
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = code.split("#[cfg(test)]\npub(crate) mod testing {").next().unwrap_or_default();
        let uncommented = code.lines().map(|line| line.split("//").next().unwrap_or_default());
        modules.insert(parts.join("::"), uncommented.collect::<Vec<_>>().join("\n"));
    }
    modules
}

/// All paths of a file that begin with `crate` or `super`, `{…}` resolved, as absolute ones.
fn paths(module: &str, code: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let mut parents: Vec<&str> = module.split("::").collect();
        let mut rest = &code[at..];
        if let Some(after) = rest.strip_prefix("crate::") {
            (parents, rest) = (Vec::new(), after);
        }
        while let Some(after) = rest.strip_prefix("super::") {
            parents.pop();
            rest = after;
        }
        expand(&parents.join("::"), rest, &mut all);
    }
    all
}

/// Adds the paths that `text` begins with, below `prefix`; returns what follows them.
fn expand<'a>(prefix: &str, text: &'a str, all: &mut BTreeSet<String>) -> &'a str {
    let join = |name: &str| match prefix {
        "" => name.to_owned(),
        prefix => format!("{prefix}::{name}"),
    };
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(prefix, rest.trim_start(), all).trim_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after.trim_start(),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) if !name.is_empty() => expand(&join(name), rest, all),
        _ => {
            all.insert(join(name));
            // What follows `as` is a name of its own.
            let renamed = rest.trim_start().strip_prefix("as ");
            renamed.map_or(rest, |new| {
                let end = new.find(|c: char| !(c.is_alphanumeric() || c == '_'));
                &new[end.unwrap_or(new.len())..]
            })
        }
    }
}

/// Which module imports from which, the ones around it and within it left out: a folder's own
/// file names what lies in the folder, and the other way round.
fn imports(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let home = |path: &str| {
        let mut path = path;
        loop {
            if let Some((known, _)) = modules.get_key_value(path) {
                return Some(known.as_str());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let around = |a: &str, b: &str| a == b || b.starts_with(&format!("{a}::"));
    let of = |(module, code): (&'_ String, &String)| -> BTreeSet<&str> {
        let found = paths(module, code);
        let homes = found.iter().filter_map(|path| home(path));
        homes.filter(|other| !around(module, other) && !around(other, module)).collect()
    };
    modules.iter().map(|entry| (entry.0.as_str(), of(entry))).collect()
}

#[test]
fn nothing_imports_what_is_above_it() {
    let (floors, modules) = (floors(), modules());
    let floor = |module: &str| {
        let room = module.split("::").next().unwrap_or_default();
        floors.iter().position(|names| names.iter().any(|name| name == room))
    };
    let rooms: BTreeSet<&str> = modules.keys().filter_map(|name| name.split("::").next()).collect();
    let drawn: BTreeSet<&str> = floors.iter().flatten().map(String::as_str).collect();
    assert_eq!(rooms, drawn, "the drawing in ARCHITECTURE.md names every module, once");
    assert_eq!(drawn.len(), floors.iter().flatten().count());
    let mut wrong = Vec::new();
    for (module, others) in imports(&modules) {
        let room = module.split("::").next().unwrap_or_default();
        for other in others.iter().filter(|other| other.split("::").next() != Some(room)) {
            if floor(other) >= floor(module) {
                wrong.push(format!("{module} imports {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_two_modules_import_each_other() {
    let modules = modules();
    let imports = imports(&modules);
    // What a module reaches by imports, itself among it only by a circle.
    let mut circles = Vec::new();
    for start in imports.keys() {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = imports[start].iter().copied().collect();
        while let Some(module) = open.pop() {
            if reached.insert(module) {
                open.extend(imports.get(module).into_iter().flatten());
            }
        }
        if reached.contains(start) {
            circles.push(*start);
        }
    }
    assert!(circles.is_empty(), "in circles of imports: {circles:#?}");
}
