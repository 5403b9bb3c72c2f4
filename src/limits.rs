//! How long a small file of a model may be.
//!
//! In: a file's name and length. Out: nothing, or the error that names both and the limit. The
//! same table holds for folders, for what is fetched and for what is parsed. All of these files
//! come from strangers, and parsing one takes many times its length in memory.

use crate::error::{Error, Result};

/// The index's name in every checkpoint that has one.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

const MIB: usize = 1 << 20;

/// Bytes by file name. Real ones have a few kB, an index 200 kB, a tokenizer 2.4 MB.
const LIMITS: [(&str, usize); 13] = [
    ("config.json", MIB),
    ("generation_config.json", MIB),
    ("preprocessor_config.json", MIB),
    ("processor_config.json", MIB),
    ("special_tokens_map.json", MIB),
    ("added_tokens.json", MIB),
    ("tokenizer_config.json", MIB),
    (INDEX_FILE, 8 * MIB),
    ("tokenizer.json", 16 * MIB),
    ("spiece.model", 16 * MIB),
    ("chat_template.json", MIB),
    ("chat_template.jinja", MIB),
    ("README.md", MIB),
];

/// How the names of files with a model's terms begin.
const TERMS: [&str; 4] = ["LICENSE", "LICENCE", "NOTICE", "USE_POLICY"];
/// Longest such name.
const MAX_TERMS_NAME: usize = 48;
/// The most for such a file.
const TERMS_LIMIT: usize = MIB;
/// The most such files that a model may have.
pub const MAX_TERMS: usize = 16;

/// Whether a file of this name has the terms under which a model may be used: `LICENSE`,
/// `LICENSE-MIT`, `NOTICE.txt`, `USE_POLICY.md`, without a folder.
#[must_use]
pub fn is_terms(name: &str) -> bool {
    let stem = [".md", ".txt", ".rst"].iter().find_map(|end| name.strip_suffix(end));
    let rest = TERMS.iter().find_map(|begin| stem.unwrap_or(name).strip_prefix(begin));
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    name.len() <= MAX_TERMS_NAME && rest.is_some_and(|rest| rest.bytes().all(plain))
}

/// The most for a file that no table names, such as a `vocab.txt` that is copied.
const OTHER: usize = 16 * MIB;

/// The most bytes that a small file may have; of a path the file's name counts.
#[must_use]
pub fn limit(file: &str) -> usize {
    let name = name(file);
    let other = if is_terms(name) { TERMS_LIMIT } else { OTHER };
    LIMITS.iter().find(|(known, _)| *known == name).map_or(other, |(_, bytes)| *bytes)
}

/// Checks a file's length before it is read or parsed.
///
/// # Errors
/// It is too long: [`too_long`].
pub fn check(file: &str, bytes: u64) -> Result<()> {
    if bytes <= limit(file) as u64 {
        return Ok(());
    }
    Err(too_long(file, Some(bytes)))
}

/// The error for a file beyond its limit, with the code of what the file is.
#[must_use]
pub fn too_long(file: &str, bytes: Option<u64>) -> Error {
    let length =
        bytes.map_or_else(|| "more bytes than".into(), |n| format!("{n} bytes, more than"));
    let reason = format!("it has {length} the {} that such a file may have", limit(file));
    let file = file.to_owned();
    match name(file.as_str()) {
        INDEX_FILE => Error::IndexInvalid { file, reason },
        "tokenizer.json" => Error::TokenizerInvalid { file, reason },
        _ => Error::ConfigInvalid { file, reason },
    }
}

/// Whether the bytes are a web page, which hosts send in place of a file that they do not have. No
/// JSON begins like one.
#[must_use]
pub fn is_web_page(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    text.trim_ascii_start().starts_with(b"<")
}

fn name(file: &str) -> &str {
    file.rsplit(['/', '\\']).next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_file_beyond_its_limit_is_named_with_both() {
        for (file, most, code) in [
            ("config.json", MIB, "config-invalid"),
            ("a/b/generation_config.json", MIB, "config-invalid"),
            ("C:\\a\\model.safetensors.index.json", 8 * MIB, "index-invalid"),
            ("qformer_tokenizer/tokenizer.json", 16 * MIB, "tokenizer-invalid"),
            ("vocab.txt", 16 * MIB, "config-invalid"),
            ("a/README.md", MIB, "config-invalid"),
            ("a/LICENSE-MIT", MIB, "config-invalid"),
        ] {
            assert!(check(file, most as u64).is_ok());
            let error = check(file, most as u64 + 1).unwrap_err();
            assert_eq!(error.code(), code);
            let said = error.to_string();
            for part in [file.to_owned(), most.to_string(), (most + 1).to_string()] {
                assert!(said.contains(&part), "{said}");
            }
        }
    }

    #[test]
    fn a_web_page_is_known_by_its_beginning() {
        for page in ["<!doctype html>", " \n<html>", "\u{feff}<!-- -->", "<?xml?>"] {
            assert!(is_web_page(page.as_bytes()), "{page}");
        }
        for other in ["", "{\"a\": \"<\"}", "[]", "\u{feff}{}"] {
            assert!(!is_web_page(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn terms_have_plain_names() {
        for name in ["LICENSE", "LICENSE.txt", "LICENCE-MIT", "NOTICE.md", "USE_POLICY.md"] {
            assert!(is_terms(name), "{name}");
        }
        let long = format!("LICENSE{}", "-".repeat(MAX_TERMS_NAME));
        for name in [
            "",
            "license",
            "MY_LICENSE",
            "LICENSE.pdf",
            "LICENSE/x",
            "LICENSE/../x.md",
            "LICENSE\\x",
            "LICENSE.json.md",
            "LICENSE x",
            "a/LICENSE",
            &long,
        ] {
            assert!(!is_terms(name), "{name}");
        }
    }
}
