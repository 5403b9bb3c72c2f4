//! Mutations of a file, from a seed: of its bytes, or of the JSON in it.

use super::json::Json;
use instructblip_web::random::{STEP, mix};

/// SplitMix64: the same inputs for the same seed, everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Values that break assumptions.
const HARSH: &[&str] = &[
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "0.5",
    "1e-320",
    "127",
    "255",
    "256",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "1e999",
    "true",
    "false",
    "null",
    "[]",
    "{}",
    "\"\"",
    "[[]]",
    "[null]",
    "{\"\":0}",
    "NaN",
    "1e",
    "01",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"\\u202e\"",
    "\"0\"",
    "\"-1\"",
];

/// Strings that do.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "A",
    "B",
    "▁",
    "##",
    "\u{0}",
    "\u{1b}]0;x\u{7}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "東",
    "ﷺ",
    "🦀",
    "../x",
    "/etc/passwd",
    "x.safetensors",
    "http://x/",
    "{}",
    "(",
    ".*",
    "a*",
    "(?=a)",
    "<0x41>",
    "<0xFF>",
    "</s>",
    "[SEP]",
    "t5",
    "instructblip",
    "Unigram",
    "WordPiece",
    "BPE",
    "Sequence",
    "NFKC",
    "NFKD",
    "Lowercase",
    "Precompiled",
    "Replace",
    "Prepend",
    "BertNormalizer",
    "Metaspace",
    "Whitespace",
    "Punctuation",
    "Digits",
    "WordPiece",
    "Fuse",
    "ByteFallback",
    "TemplateProcessing",
    "BertProcessing",
    "F32",
    "BF16",
    "q4",
    "gelu",
    "relu",
];

/// Some mutations of bytes.
pub fn bytes(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = *random.pick(b"0123456789[]{}\",:\\-+.eE \0\xff"),
            3 => bytes.truncate(at),
            4 => {
                bytes.splice(at..at, random.pick(HARSH).bytes());
            }
            5 => {
                let end = (at + random.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let end = (at + random.below(64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

/// Some mutations of a JSON file; text that is none is changed by bytes.
pub fn json(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let parsed = serde_json::from_slice(file);
    let (Ok(value), false) = (parsed, random.once_in(6)) else {
        return bytes(random, file.to_vec());
    };
    let mut root = Json::of(&value);
    // Most inputs have one fault alone: with several, the first hides what the others would do.
    let times = if random.once_in(3) { 2 + random.below(3) } else { 1 };
    for _ in 0..times {
        mutate(random, &mut root);
    }
    let mut text = String::new();
    root.write(&mut text);
    text.into_bytes()
}

/// One mutation somewhere within `root`.
fn mutate(random: &mut Random, root: &mut Json) {
    let mut place = &mut *root;
    // Each level is as likely to be the place, so that long lists do not take them all.
    while !random.once_in(4) && !place.children().is_empty() {
        let mut children = place.children();
        let at = random.below(children.len());
        place = children.swap_remove(at);
    }
    match random.below(9) {
        0 | 1 => *place = Json::Raw((*random.pick(HARSH)).to_owned()),
        2 => *place = text(random),
        3 => *place = nested(random, place),
        4 => number(random, place),
        5 if random.once_in(2) => *place = part(random, "", 0),
        _ => members(random, place),
    }
}

fn text(random: &mut Random) -> Json {
    let text = *random.pick(TEXTS);
    let times = if random.once_in(8) { *random.pick(&[3, 17, 129, 600, 70_000]) } else { 1 };
    Json::Text(text.repeat(times))
}

/// The value within many lists or objects.
fn nested(random: &mut Random, value: &Json) -> Json {
    let depth = *random.pick(&[1, 2, 100, 126, 130, 20_000]);
    let mut inner = String::new();
    value.write(&mut inner);
    let (open, close) = if random.once_in(2) { ("[", "]") } else { ("{\"a\":", "}") };
    Json::Raw(format!("{}{inner}{}", open.repeat(depth), close.repeat(depth)))
}

/// A number near the one that is there.
fn number(random: &mut Random, place: &mut Json) {
    if let Json::Raw(text) = place
        && let Ok(value) = text.parse::<f64>()
    {
        let factor = *random.pick(&[-1.0, 0.0, 0.5, 2.0, 3.0, 4096.0, 1e9]);
        *text = format!("{}", value * factor + *random.pick(&[0.0, 1.0, -1.0]));
    }
}

/// Takes away, doubles, exchanges or adds an item or a member.
fn members(random: &mut Random, place: &mut Json) {
    match place {
        Json::List(items) if !items.is_empty() => {
            let (a, b) = (random.below(items.len()), random.below(items.len()));
            match random.below(5) {
                0 => drop(items.remove(a)),
                1 => items.insert(b, items[a].clone()),
                2 => items.swap(a, b),
                3 => items.truncate(a),
                _ => {
                    let times = *random.pick(&[2, 20, 300, 5000]);
                    let item = items[a].clone();
                    items.extend(std::iter::repeat_n(item, times));
                }
            }
        }
        Json::Map(members) if !members.is_empty() => {
            let (a, b) = (random.below(members.len()), random.below(members.len()));
            match random.below(6) {
                0 => drop(members.remove(a)),
                1 => members.insert(b, members[a].clone()), // the name comes twice
                2 => {
                    let value = members[a].1.clone();
                    members[b].1 = value;
                }
                3 => members[a].0 = (*random.pick(TEXTS)).to_owned(),
                4 => {
                    let name = members[a].0.clone();
                    members.push((name, text(random)));
                }
                _ => members.push(("unknown".into(), part(random, "", 0))),
            }
        }
        other => *other = text(random),
    }
}

/// Types of a tokenizer's parts by where they belong.
const PARTS: [(&str, &[&str]); 3] = [
    (
        "normalizers",
        &[
            "Sequence",
            "Sequence",
            "Sequence",
            "Replace",
            "Replace",
            "Replace",
            "Prepend",
            "NFKC",
            "NFKD",
            "NFC",
            "NFD",
            "Lowercase",
            "Strip",
            "StripAccents",
            "Nmt",
            "BertNormalizer",
            "Precompiled",
        ],
    ),
    (
        "pretokenizers",
        &[
            "Sequence",
            "Sequence",
            "Metaspace",
            "Whitespace",
            "WhitespaceSplit",
            "Punctuation",
            "Digits",
            "BertPreTokenizer",
            "Split",
            "ByteLevel",
        ],
    ),
    (
        "decoders",
        &[
            "Sequence",
            "Sequence",
            "Replace",
            "Replace",
            "Metaspace",
            "ByteFallback",
            "Fuse",
            "WordPiece",
            "Strip",
        ],
    ),
];

/// A part of a tokenizer, sound or nearly so, with others in it.
pub fn part(random: &mut Random, place: &str, depth: usize) -> Json {
    let raw = |text: &str| Json::Raw(text.to_owned());
    let member = |name: &str, value: Json| (name.to_owned(), value);
    let stray = *random.pick(&PARTS);
    let own = PARTS.iter().find(|(name, _)| *name == place && !random.once_in(20));
    let (children, kinds) = *own.unwrap_or(&stray);
    let kind = *random.pick(kinds);
    let mut members = vec![member("type", Json::Text(kind.into()))];
    match kind {
        "Sequence" => {
            let mut parts: Vec<Json> = (0..random.below(6))
                .filter(|_| depth < 4)
                .map(|_| part(random, children, depth + 1))
                .collect();
            // One after another they multiply.
            if let (Some(last), true) = (parts.last().cloned(), random.once_in(3)) {
                parts.extend(std::iter::repeat_n(last, random.below(5)));
            }
            members.push(member(children, Json::List(parts)));
        }
        "Replace" => {
            let kind = *random.pick(&["String", "Regex"]);
            let pattern = *random.pick(&[
                "a",
                ".",
                "a*",
                " {2,}",
                "\\s+",
                "",
                "(a|b)*c",
                "\\w{9}",
                "(?:.{0,30}){4}(?!)|.",
                "x",
                " ",
                "▁",
                "$",
                "[^a]",
                "\\b",
                "^",
                "(?=a)",
                "(a+)+$",
            ]);
            members
                .push(member("pattern", Json::Map(vec![member(kind, Json::Text(pattern.into()))])));
            let content = random.pick(TEXTS).repeat(*random.pick(&[1, 2, 9, 128]));
            members.push(member("content", Json::Text(content)));
        }
        "Prepend" => members.push(member("prepend", text(random))),
        "Metaspace" => {
            members.push(member(
                "replacement",
                Json::Text((*random.pick(&["▁", "_", "🦀", ""])).into()),
            ));
            let scheme = *random.pick(&["always", "first", "never"]);
            members.push(member("prepend_scheme", Json::Text(scheme.into())));
        }
        "Strip" => {
            members.extend(["strip_left", "strip_right"].map(|name| member(name, raw("true"))))
        }
        "Digits" => members.push(member("individual_digits", raw("true"))),
        "Punctuation" => members.push(member("behavior", Json::Text("Isolated".into()))),
        "BertNormalizer" => members.extend(
            ["clean_text", "handle_chinese_chars", "strip_accents", "lowercase"]
                .map(|name| member(name, raw("true"))),
        ),
        "WordPiece" => {
            members.extend([member("prefix", text(random)), member("cleanup", raw("true"))]);
        }
        "Precompiled" => members.push(member("precompiled_charsmap", text(random))),
        _ => {}
    }
    Json::Map(members)
}
