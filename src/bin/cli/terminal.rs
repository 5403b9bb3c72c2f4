//! What the commands print, made fit for a terminal.
//!
//! Answers, names and messages may hold text from a model's files, which may come from anybody.
//! To a terminal, control characters are commands: they write to the clipboard, rename the
//! window, or make a line look like another. So nothing is printed but through here: lints
//! forbid the macros of the standard library in this program.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write as _};

use instructblip_web::{Error, Result};
use serde::Serialize;

/// Whether a terminal, or a reader, could take the character for something else than text:
/// control characters but line feed and tab, marks that turn the direction of writing, and the
/// separators of lines and paragraphs.
fn is_unsafe(c: char) -> bool {
    let control = c.is_control() && !matches!(c, '\n' | '\t');
    control
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Writes text with the unsafe characters as `\u{1b}`, or as JSON has them.
struct Escaped<W>(W, fn(char) -> String);

impl<W: fmt::Write> fmt::Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            self.0.write_str(&rest[..at])?;
            self.0.write_str(&self.1(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

fn in_text(c: char) -> String {
    c.escape_unicode().to_string()
}

fn in_json(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

/// The text without anything that a terminal obeys.
#[must_use]
pub fn plain(text: impl Display) -> String {
    escape(text, in_text)
}

fn escape(text: impl Display, how: fn(char) -> String) -> String {
    let mut escaped = Escaped(String::new(), how);
    // Writing to a string cannot fail.
    let _ = write!(escaped, "{text}");
    escaped.0
}

/// Prints to standard output, at once.
///
/// # Errors
/// Nobody reads on.
pub fn print(text: impl Display) -> Result<()> {
    write(&plain(text))
}

fn write(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Error::io("standard output", error))
}

/// Prints a line to standard output.
///
/// # Errors
/// Nobody reads on.
pub fn print_line(text: impl Display) -> Result<()> {
    print(format_args!("{text}\n"))
}

/// Prints a value as JSON, in lines.
///
/// # Errors
/// It cannot be written as JSON, or nobody reads on.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value);
    let json = json.map_err(|error| Error::Internal { reason: error.to_string() })?;
    // Such characters are within strings only.
    write(&(escape(json, in_json) + "\n"))
}

/// Prints a line to standard error.
pub fn note(text: impl Display) {
    // Where nobody hears it, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{}", plain(text));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn text_stays_and_commands_are_shown() {
        for (text, expected) in [
            ("a\tb\nc ü 日本 🙂 e\u{301} \u{200d}", "a\tb\nc ü 日本 🙂 e\u{301} \u{200d}"),
            ("yes\x1b]52;c;cHduZWQ=\x07", "yes\\u{1b}]52;c;cHduZWQ=\\u{7}"),
            ("\u{9b}31m\x7f\r\x08\0", "\\u{9b}31m\\u{7f}\\u{d}\\u{8}\\u{0}"),
            (
                "\u{202e}a\u{2066}b\u{2069}\u{2028}\u{2029}",
                "\\u{202e}a\\u{2066}b\\u{2069}\\u{2028}\\u{2029}",
            ),
        ] {
            assert_eq!(plain(text), expected);
        }
        let all: String = ('\0'..=char::MAX).collect();
        assert!(!plain(&all).chars().any(is_unsafe));
    }

    #[test]
    fn json_says_the_same() {
        let all: String = ('\0'..=char::MAX).collect();
        let json = escape(serde_json::to_string_pretty(&[&all]).unwrap(), in_json);
        assert!(!json.chars().any(is_unsafe));
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [all]);
    }
}
