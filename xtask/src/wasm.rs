//! The functions of a wasm module: their names and sizes, and a copy without some of them.
//!
//! Only what this needs of the format is read: the counts of imported functions, the bodies in the
//! code section, and the custom section `name`. <https://webassembly.github.io/spec/core/binary/>

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Context, Result, bail};

const CUSTOM: u8 = 0;
const IMPORT: u8 = 2;
const CODE: u8 = 10;
const DATA: u8 = 11;
/// No locals; `unreachable`; `end`.
const TRAP: [u8; 3] = [0x00, 0x00, 0x0b];

/// A function of the module itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its path, such as `<alloc::string::String as core::fmt::Write>::write_str`.
    pub name: String,
    /// Its body in the module's bytes.
    pub body: Range<usize>,
}

/// What a module consists of.
pub struct Module<'a> {
    bytes: &'a [u8],
    /// Kind, whole section, and its contents.
    sections: Vec<(u8, Range<usize>, Range<usize>)>,
    /// All functions, in order.
    pub functions: Vec<Function>,
}

impl<'a> Module<'a> {
    /// # Errors
    /// The bytes are no wasm module.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        if !bytes.starts_with(b"\0asm\x01\0\0\0") {
            bail!("this is no wasm module");
        }
        let mut sections = Vec::new();
        let mut reader = Reader { bytes, at: 8 };
        while reader.at < bytes.len() {
            let start = reader.at;
            let kind = reader.byte()?;
            let contents = reader.block()?;
            sections.push((kind, start..contents.end, contents));
        }
        let mut module = Self { bytes, sections, functions: Vec::new() };
        let mut names = module.names()?;
        let imported = module.imported()?;
        if let Some(mut reader) = module.reader(CODE) {
            for index in imported..imported + reader.number()? {
                let body = reader.block()?;
                let name = names.remove(&index).map(|name| demangle(&name)).unwrap_or_default();
                module.functions.push(Function { name, body });
            }
        }
        Ok(module)
    }

    /// Bytes of the data section.
    pub fn data(&self) -> usize {
        self.sections.iter().filter(|(kind, ..)| *kind == DATA).map(|(.., c)| c.len()).sum()
    }

    /// The module with traps in place of the bodies of functions that are `dead`, and how many
    /// bytes of code that took away.
    pub fn without(&self, dead: impl Fn(&Function) -> bool) -> (Vec<u8>, usize) {
        let mut out = self.bytes[..8].to_vec();
        let mut cut = 0;
        for (kind, whole, _) in &self.sections {
            if *kind != CODE {
                out.extend_from_slice(&self.bytes[whole.clone()]);
                continue;
            }
            let mut code = number(self.functions.len());
            for function in &self.functions {
                let body = &self.bytes[function.body.clone()];
                let kept = if dead(function) { &TRAP } else { body };
                cut += body.len().saturating_sub(kept.len());
                code.extend(number(kept.len()));
                code.extend_from_slice(kept);
            }
            out.push(CODE);
            out.extend(number(code.len()));
            out.extend(code);
        }
        (out, cut)
    }

    fn reader(&self, wanted: u8) -> Option<Reader<'a>> {
        let (.., contents) = self.sections.iter().find(|(kind, ..)| *kind == wanted)?;
        Some(Reader { bytes: &self.bytes[..contents.end], at: contents.start })
    }

    /// The number of imported functions, which come first in the numbering.
    fn imported(&self) -> Result<usize> {
        let Some(mut reader) = self.reader(IMPORT) else { return Ok(0) };
        let mut functions = 0;
        for _ in 0..reader.number()? {
            reader.block()?;
            reader.block()?;
            match reader.byte()? {
                0 => {
                    reader.number()?;
                    functions += 1;
                }
                1 => {
                    reader.byte()?;
                    reader.limits()?;
                }
                2 => reader.limits()?,
                3 => reader.at += 2,
                kind => bail!("an import of the unknown kind {kind}"),
            }
        }
        Ok(functions)
    }

    fn names(&self) -> Result<HashMap<usize, String>> {
        let mut names = HashMap::new();
        for (_, _, contents) in self.sections.iter().filter(|(kind, ..)| *kind == CUSTOM) {
            let mut reader = Reader { bytes: &self.bytes[..contents.end], at: contents.start };
            let title = reader.block()?;
            if &self.bytes[title] != b"name" {
                continue;
            }
            while reader.at < contents.end {
                let kind = reader.byte()?;
                let part = reader.block()?;
                if kind != 1 {
                    continue; // names of the module, of locals, and so on
                }
                let mut part = Reader { bytes: &self.bytes[..part.end], at: part.start };
                for _ in 0..part.number()? {
                    let index = part.number()?;
                    let name = part.block()?;
                    let name = String::from_utf8_lossy(&self.bytes[name]).into_owned();
                    names.insert(index, name);
                }
            }
        }
        Ok(names)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).context("the module is cut off")?;
        self.at += 1;
        Ok(byte)
    }

    /// An unsigned LEB128 number.
    fn number(&mut self) -> Result<usize> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return Ok(usize::try_from(value)?);
            }
            if shift > 56 {
                bail!("a number is too long");
            }
        }
    }

    /// A length, and that many bytes.
    fn block(&mut self) -> Result<Range<usize>> {
        let length = self.number()?;
        let start = self.at;
        self.at += length;
        if self.at > self.bytes.len() {
            bail!("the module is cut off");
        }
        Ok(start..self.at)
    }

    fn limits(&mut self) -> Result<()> {
        let bounded = self.byte()? & 1 == 1;
        self.number()?;
        if bounded {
            self.number()?;
        }
        Ok(())
    }
}

fn number(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// The path in a symbol of Rust's legacy mangling, without its hash; other symbols as they are.
fn demangle(symbol: &str) -> String {
    const ESCAPES: [(&str, &str); 14] = [
        ("$LT$", "<"),
        ("$GT$", ">"),
        ("$RF$", "&"),
        ("$BP$", "*"),
        ("$C$", ","),
        ("$LP$", "("),
        ("$RP$", ")"),
        ("$u20$", " "),
        ("$u27$", "'"),
        ("$u5b$", "["),
        ("$u5d$", "]"),
        ("$u7b$", "{"),
        ("$u7d$", "}"),
        ("..", "::"),
    ];
    let Some(mut rest) = symbol.strip_prefix("_ZN") else { return symbol.to_owned() };
    let mut parts = Vec::new();
    while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0) {
        let Ok(length) = rest[..end].parse::<usize>() else { break };
        let Some(part) = rest.get(end..end + length) else { break };
        parts.push(part);
        rest = &rest[end + length..];
    }
    let hash = |part: &&str| part.len() == 17 && part.starts_with('h');
    if parts.last().is_some_and(hash) {
        parts.pop();
    }
    let path = parts.join("::");
    let path = ESCAPES.iter().fold(path, |path, (escape, meaning)| path.replace(escape, meaning));
    path.strip_prefix('_').filter(|path| path.starts_with('<')).unwrap_or(&path).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// One import, two functions `a::b` and `c`, and their names.
    fn module() -> Vec<u8> {
        let section = |kind: u8, contents: &[u8]| {
            [&[kind], number(contents.len()).as_slice(), contents].concat()
        };
        let text = |text: &str| [number(text.len()).as_slice(), text.as_bytes()].concat();
        let names = [
            &[3, 0][..],
            &text("host"),
            &[1],
            &text("_ZN1a1b17h0123456789abcdefE"),
            &[2],
            &text("c"),
        ];
        let names = names.concat();
        let name_section = [text("name"), vec![1], number(names.len()), names].concat();
        [
            b"\0asm\x01\0\0\0".to_vec(),
            section(1, &[1, 0x60, 0, 0]),
            section(IMPORT, &[&[1][..], &text("m"), &text("f"), &[0, 0]].concat()),
            section(3, &[2, 0, 0]),
            section(CODE, &[2, 4, 0, 0x01, 0x01, 0x0b, 2, 0, 0x0b]),
            section(CUSTOM, &name_section),
        ]
        .concat()
    }

    #[test]
    fn functions_have_their_names_and_bodies() {
        let bytes = module();
        let parsed = Module::parse(&bytes).unwrap();
        let found: Vec<_> =
            parsed.functions.iter().map(|f| (f.name.as_str(), f.body.len())).collect();
        assert_eq!(found, [("a::b", 4), ("c", 2)]);
    }

    #[test]
    fn a_dead_function_becomes_a_trap() {
        let bytes = module();
        let (out, cut) = Module::parse(&bytes).unwrap().without(|function| function.name == "a::b");
        assert_eq!((cut, out.len()), (1, bytes.len() - 1));
        let parsed = Module::parse(&out).unwrap();
        assert_eq!(out[parsed.functions[0].body.clone()], TRAP);
        assert_eq!(parsed.functions[1].name, "c");
    }

    #[test]
    fn symbols_read_as_paths() {
        let symbol = "_ZN60_$LT$alloc..string..String$u20$as$u20$core..fmt..Display$GT$3fmt17h0123456789abcdefE";
        assert_eq!(demangle(symbol), "<alloc::string::String as core::fmt::Display>::fmt");
        assert_eq!(demangle("main"), "main");
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(Module::parse(b"\0asm").is_err());
        let bytes = module();
        for end in 9..bytes.len() {
            // Cut anywhere, it is an error or a shorter module, never a panic.
            let _ = Module::parse(&bytes[..end]);
        }
    }
}
