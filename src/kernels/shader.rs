//! Variants of a WGSL file: constants put before it, directives resolved, bindings numbered.
//!
//! Shaders are ordinary WGSL files with these additions, resolved by [`Shader::source`]:
//! - Named constants come first (`const LANES: u32 = 32u;`).
//! - Lines between `//#if FLAG` and `//#endif`, with an optional `//#else`, stay only where that
//!   flag is set. Bindings a variant does not need must be cut this way: a pipeline's automatic
//!   layout drops unused bindings.
//! - Lines between `//#for i in ROWS` and `//#end` are repeated for every i below the constant
//!   ROWS, `$i` being the number: sums that must stay in registers are variables, not an array that
//!   a driver may put in memory.
//! - `@binding(auto)` is numbered in the order of appearance in what is left.

use burn::cubecl::prelude::KernelId;
use burn_cubecl::template::{KernelSource, SourceTemplate};

/// What is known of a kernel without launching it.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Of its file in `shaders/`.
    pub name: &'static str,
    /// The text of that file, after those of the parts that it needs.
    pub parts: &'static [&'static str],
    /// Names and types of the WGSL's `struct Params`, in order; all have 32 bits.
    pub params: &'static [(&'static str, &'static str)],
    /// Its shader in every variant that is compiled differently.
    pub variants: fn() -> Vec<Shader>,
}

impl Kernel {
    /// A variant of its shader.
    pub(super) fn shader(
        &self,
        constants: Vec<(&'static str, u32)>,
        flags: Vec<&'static str>,
    ) -> Shader {
        Shader { name: self.name, parts: self.parts.to_vec(), constants, flags }
    }
}

/// A kernel's `struct Params`, which `kernel!` declares.
pub trait Parameters {
    /// Its members in order.
    fn words(&self) -> &[u32];
}

/// Describes a kernel: `KERNEL`, and its `struct Params` with the members of the WGSL's `Params`,
/// which `tests/shaders.rs` compares.
macro_rules! kernel {
    (
        name: $name:literal,
        parts: [$($part:literal),*],
        params: { $($member:ident: $type:ident),+ $(,)? },
        variants: $variants:expr,
    ) => {
        pub(super) const KERNEL: $crate::kernels::Kernel = $crate::kernels::Kernel {
            name: $name,
            parts: &[
                $(include_str!(concat!("../../shaders/parts/", $part, ".wgsl")),)*
                include_str!(concat!("../../shaders/", $name, ".wgsl")),
            ],
            params: &[$((stringify!($member), stringify!($type))),+],
            variants: $variants,
        };

        #[repr(C)]
        #[derive(Clone, Copy, bytemuck::NoUninit)]
        struct Params {
            $($member: $type),+
        }

        impl $crate::kernels::shader::Parameters for Params {
            fn words(&self) -> &[u32] {
                bytemuck::cast_slice(std::slice::from_ref(self))
            }
        }
    };
}
pub(super) use kernel;

/// A WGSL file with the constants and flags that make one variant of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// The kernel's name, that of its file in `shaders/`.
    pub name: &'static str,
    /// The files' texts, concatenated in this order.
    pub parts: Vec<&'static str>,
    /// Unsigned constants put before the text.
    pub constants: Vec<(&'static str, u32)>,
    /// Flags for `//#if`.
    pub flags: Vec<&'static str>,
}

impl Shader {
    /// Gives a constant that is there another value.
    pub(super) fn set(&mut self, constant: &'static str, value: u32) {
        for (_, old) in self.constants.iter_mut().filter(|(name, _)| *name == constant) {
            *old = value;
        }
    }

    /// The WGSL text of this variant. Its entry point is `main`.
    ///
    /// Of a malformed file it is the sentence that says what is wrong, which no compiler takes.
    #[must_use]
    pub fn source(&self) -> String {
        self.resolve().unwrap_or_else(|fault| format!("{}: {fault}\n", self.name))
    }

    fn resolve(&self) -> Result<String, String> {
        let mut text = String::new();
        for (name, value) in &self.constants {
            text.push_str(&format!("const {name}: u32 = {value}u;\n"));
        }
        let lines: Vec<String> =
            self.parts.iter().flat_map(|part| part.lines()).map(String::from).collect();
        self.expand(&lines, &mut text)?;
        let mut pieces = text.split("@binding(auto)");
        let mut source = String::from(pieces.next().unwrap_or_default());
        for (number, piece) in pieces.enumerate() {
            source.push_str(&format!("@binding({number}){piece}"));
        }
        Ok(source)
    }

    /// Resolves the directives.
    fn expand(&self, lines: &[String], out: &mut String) -> Result<(), String> {
        // One entry a nested `//#if`: whether its lines are kept, and whether `//#else` came.
        let mut open: Vec<(bool, bool)> = Vec::new();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            at += 1;
            let directive = line.trim();
            let kept = open.iter().all(|(keep, _)| *keep);
            match directive.split_once(' ').unwrap_or((directive, "")) {
                ("//#if", flag) => open.push((self.flags.contains(&flag), false)),
                ("//#else", "") => match open.last_mut() {
                    Some((keep, other @ false)) => (*keep, *other) = (!*keep, true),
                    _ => return Err("//#else without //#if".into()),
                },
                ("//#endif", "") => {
                    open.pop().ok_or("//#endif without //#if")?;
                }
                ("//#for", header) => {
                    let rest = &lines[at..];
                    let length = loop_length(rest).ok_or("//#for without //#end")?;
                    at += length + 1;
                    if kept {
                        self.repeat(header, &rest[..length], out)?;
                    }
                }
                (word, _) if word.starts_with("//#") => {
                    return Err(format!("{directive} is out of place"));
                }
                _ if kept => {
                    out.push_str(line);
                    out.push('\n');
                }
                _ => {}
            }
        }
        if open.is_empty() { Ok(()) } else { Err("//#if without //#endif".into()) }
    }

    /// `name in CONSTANT` and the lines that are repeated.
    fn repeat(&self, header: &str, body: &[String], out: &mut String) -> Result<(), String> {
        let constant = |constant| self.constants.iter().find(|(known, _)| *known == constant);
        let parts = header.split_once(" in ");
        let Some((name, Some((_, count)))) = parts.map(|(name, count)| (name, constant(count)))
        else {
            return Err(format!("//#for {header}: no such constant"));
        };
        for i in 0..*count {
            let with_number = |line: &String| line.replace(&format!("${name}"), &i.to_string());
            self.expand(&body.iter().map(with_number).collect::<Vec<_>>(), out)?;
        }
        Ok(())
    }
}

/// Lines before the `//#end` that ends this loop.
fn loop_length(lines: &[String]) -> Option<usize> {
    let mut depth = 0usize;
    for (i, line) in lines.iter().enumerate() {
        match line.trim() {
            "//#end" if depth == 0 => return Some(i),
            "//#end" => depth -= 1,
            start if start.starts_with("//#for ") => depth += 1,
            _ => {}
        }
    }
    None
}

impl KernelSource for Shader {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(Shader::source(self))
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Shader;

    fn resolve(text: &'static str, flags: &[&'static str]) -> Result<String, String> {
        let constants = vec![("TWO", 2), ("NONE", 0)];
        let shader = Shader { name: "test", parts: vec![text], constants, flags: flags.to_vec() };
        let constants = "const TWO: u32 = 2u;\nconst NONE: u32 = 0u;\n";
        shader.resolve().map(|text| text.strip_prefix(constants).unwrap_or_default().into())
    }

    #[test]
    fn lines_stay_where_their_flag_is_set() {
        let text = "a\n//#if F\nb\n  //#else\nc\n//#endif\nd";
        assert_eq!(resolve(text, &["F"]).as_deref(), Ok("a\nb\nd\n"));
        assert_eq!(resolve(text, &["G"]).as_deref(), Ok("a\nc\nd\n"));
        let nested = "//#if F\na\n//#if G\nb\n//#else\nc\n//#endif\n//#else\nd\n//#endif";
        assert_eq!(resolve(nested, &["F", "G"]).as_deref(), Ok("a\nb\n"));
        assert_eq!(resolve(nested, &["F"]).as_deref(), Ok("a\nc\n"));
        // Neither branch of what lies in lines that are cut.
        assert_eq!(resolve(nested, &["G"]).as_deref(), Ok("d\n"));
        assert_eq!(resolve(nested, &[]).as_deref(), Ok("d\n"));
    }

    #[test]
    fn lines_are_repeated_with_their_number() {
        let text = "//#for i in TWO\nx$i\n//#for j in TWO\ny$i_$j\n//#end\n//#end\nz";
        assert_eq!(resolve(text, &[]).as_deref(), Ok("x0\ny0_0\ny0_1\nx1\ny1_0\ny1_1\nz\n"));
        assert_eq!(resolve("//#for i in NONE\nx\n//#end\nz", &[]).as_deref(), Ok("z\n"));
        let flag = "//#for i in TWO\n//#if F\nx$i\n//#endif\n//#end";
        assert_eq!(resolve(flag, &["F"]).as_deref(), Ok("x0\nx1\n"));
        assert_eq!(resolve(flag, &[]).as_deref(), Ok(""));
    }

    #[test]
    fn bindings_are_numbered_in_what_is_left() {
        let text = "@binding(auto) a\n//#if F\n@binding(auto) b\n//#endif\n@binding(auto) c";
        let all = "@binding(0) a\n@binding(1) b\n@binding(2) c\n";
        assert_eq!(resolve(text, &["F"]).as_deref(), Ok(all));
        assert_eq!(resolve(text, &[]).as_deref(), Ok("@binding(0) a\n@binding(1) c\n"));
    }

    #[test]
    fn a_malformed_file_says_what_is_wrong() {
        for (text, fault) in [
            ("//#if F\na", "//#if without //#endif"),
            ("a\n//#endif", "//#endif without //#if"),
            ("//#else\n//#endif", "//#else without //#if"),
            ("//#if F\n//#else\n//#else\n//#endif", "//#else without //#if"),
            ("//#for i in TWO\na", "//#for without //#end"),
            ("//#for i in TWO\n//#if F\n//#end\n//#endif", "//#if without //#endif"),
            ("//#for i in THREE\na\n//#end", "//#for i in THREE: no such constant"),
            ("//#for TWO\na\n//#end", "//#for TWO: no such constant"),
            ("a\n//#end", "//#end is out of place"),
            ("//#fi F", "//#fi F is out of place"),
        ] {
            assert_eq!(resolve(text, &[]).unwrap_err(), fault, "{text}");
        }
    }
}
