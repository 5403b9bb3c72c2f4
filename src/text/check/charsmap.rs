//! SentencePiece's character map: which bytes of a text are replaced by which.
//!
//! In: the base64 text of a `Precompiled` normalizer: a trie's length in bytes, its 32-bit units
//! (a double array), and the replacements, each ended by a zero byte. Out: by how much a text
//! can grow, or nothing where a search could leave the map. Every unit that a search can reach
//! must lie inside, and every value must be the beginning of a character.

/// Most bytes that the crate looks up at once: a longer grapheme is looked up by characters.
const LONGEST_KEY: usize = 5;
/// A replacement that is longer counts as this long, which no tokenizer may have.
const LONGEST_REPLACEMENT: usize = 1 << 10;

/// The most bytes for a byte that the map makes of a text; `None` where it is damaged.
pub(super) fn growth(text: &str) -> Option<f64> {
    let bytes = base64(text)?;
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let units = u32::from_le_bytes(*size) as usize / 4;
    let (trie, replacements) = rest.split_at_checked(units.checked_mul(4)?)?;
    let replacements = std::str::from_utf8(replacements).ok()?;
    let trie: Vec<u32> =
        trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let offset = |unit: u32| ((unit >> 10) as usize) << ((unit & (1 << 9)) >> 6);

    let mut most: f64 = 1.0;
    let mut seen = vec![false; trie.len()];
    // By levels, so that a node is met first by its shortest key.
    let mut level = vec![offset(*trie.first()?)];
    let mut key_bytes = 0;
    while !level.is_empty() {
        key_bytes += 1;
        let mut next_level = Vec::new();
        for base in level {
            if std::mem::replace(seen.get_mut(base)?, true) {
                continue;
            }
            for byte in 1..=0xFF {
                let at = base ^ byte as usize;
                let unit = *trie.get(at)?;
                if unit & (1 << 31 | 0xFF) != byte {
                    continue;
                }
                let next = at ^ offset(unit);
                if unit >> 8 & 1 == 1 {
                    let value = (trie.get(next)? & !(1 << 31)) as usize;
                    if !replacements.is_char_boundary(value) {
                        return None;
                    }
                    if key_bytes <= LONGEST_KEY {
                        let tail = &replacements.as_bytes()[value..];
                        // As far as would be too much: a map may lack its zero bytes.
                        let tail = &tail[..tail.len().min(LONGEST_REPLACEMENT)];
                        let length = tail.iter().position(|&byte| byte == 0).unwrap_or(tail.len());
                        most = most.max(length as f64 / key_bytes as f64);
                    }
                }
                next_level.push(next);
            }
        }
        level = next_level;
    }
    Some(most)
}

/// Standard base64, padded, without spaces and with zeros in the unused bits.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn base64_is_strict() {
        assert_eq!(base64("").unwrap(), b"");
        assert_eq!(base64("TWFu").unwrap(), b"Man");
        assert_eq!(base64("TWE=").unwrap(), b"Ma");
        assert_eq!(base64("TQ==").unwrap(), b"M");
        assert_eq!(base64("+/+/").unwrap(), [0xFB, 0xFF, 0xBF]);
        for bad in
            ["T", "TQ", "TQ=", "TR==", "T===", "====", "TW Fu", "TWF\n", "T=Fu", "-_-_", "TWFué"]
        {
            assert!(base64(bad).is_none(), "{bad}");
        }
    }
}
