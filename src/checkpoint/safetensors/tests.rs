//! Headers, good ones and those of liars.

#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

fn file(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

fn parse(json: &str, data: usize) -> Result<Header> {
    let bytes = file(json, data);
    Header::parse("f", &bytes, bytes.len() as u64)
}

fn reason(json: &str, data: usize) -> String {
    let error = parse(json, data).unwrap_err();
    assert_eq!(error.code(), "checkpoint-header");
    error.to_string()
}

const GOOD: &str = r#"{"b":{"dtype":"F16","shape":[2,2],"data_offsets":[4,12]},"__metadata__":{"format":"pt"},
    "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"_pad.1":{"dtype":"U8","shape":[3],"data_offsets":[12,15]}}   "#;

#[test]
fn reads_tensors_in_the_order_of_their_bytes() {
    let header = parse(GOOD, 15).unwrap();
    assert_eq!(header.data_start, 8 + GOOD.len());
    assert_eq!(header.metadata["format"], "pt");
    let names: Vec<&str> = header.tensors.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "_pad.1"]);
    assert_eq!(header.real_tensors().count(), 2);
    let b = &header.tensors[1];
    assert_eq!((b.dtype, &b.shape[..], b.range.clone()), (Dtype::F16, &[2, 2][..], 4..12));
}

#[test]
fn a_prefix_is_enough() {
    let bytes = file(GOOD, 15);
    let span = Header::span("f", &bytes[..8]).unwrap();
    assert!(Header::parse("f", &bytes[..span], bytes.len() as u64).is_ok());
    for cut in 0..span {
        let error = Header::parse("f", &bytes[..cut], bytes.len() as u64).unwrap_err();
        assert_eq!(error.code(), "checkpoint-header", "{cut}");
    }
    for length in [0, 8, span as u64, bytes.len() as u64 - 1, bytes.len() as u64 + 1, u64::MAX] {
        assert!(Header::parse("f", &bytes, length).is_err(), "{length}");
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    for length in [0, 1, MAX_HEADER as u64 + 1, u64::from(u32::MAX), u64::MAX] {
        let mut bytes = file(GOOD, 15);
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        assert!(Header::parse("f", &bytes, bytes.len() as u64).is_err(), "{length}");
    }
    let mut bytes = file(GOOD, 15);
    bytes[..8].copy_from_slice(&(MAX_HEADER as u64).to_le_bytes());
    assert!(Header::parse("f", &bytes, u64::MAX).is_err());
}

#[test]
fn json_that_is_no_header_is_refused() {
    for json in [
        "[]",
        "{",
        "{} x",
        " {}",
        "null",
        "{\"a\":1}",
        "{\"a\":{}}",
        "{\"__metadata__\":{\"x\":1}}",
        r#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}"#,
    ] {
        reason(json, 4);
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    reason(&deep, 0);
    let mut bytes = file("{\"aa\":1}", 0);
    bytes[10] = 0xff;
    let said = Header::parse("f", &bytes, bytes.len() as u64).unwrap_err().to_string();
    assert!(said.contains("UTF-8"), "{said}");
}

#[test]
fn tensors_that_lie_are_refused() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        reason(
            &format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#),
            4,
        )
    };
    assert!(one("F8", "[4]", "[0,4]").contains("unknown type"));
    assert!(one("F32", "[2]", "[0,4]").contains("has 8 bytes"));
    assert!(one("F32", "[1]", "[4,0]").contains("has 4 bytes"));
    assert!(one("F32", "[1]", "[0,8]").contains("has 4 bytes"));
    assert!(one("F32", "[2]", "[0,8]").contains("has room for 4"));
    assert!(one("F16", "[1]", "[0,2]").contains("has room for 4"));
    assert!(one("F16", "[1]", "[2,4]").contains("hole"));
    assert!(one("F32", "[4294967296,4294967296,4294967296]", "[0,4]").contains("overflows"));
    assert!(one("F32", "[0,4294967296,4294967296,4294967296]", "[0,0]").contains("overflows"));
    assert!(one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]").contains("at most 8"));
    assert!(one("F32", "[1]", "[18446744073709551612,18446744073709551615]").contains("4 bytes"));
}

#[test]
fn overlaps_and_repeats_are_refused() {
    let two = |first: &str, second: &str, names: [&str; 2]| {
        let entry =
            |name, at| format!(r#""{name}":{{"dtype":"U8","shape":[4],"data_offsets":{at}}}"#);
        reason(&format!("{{{},{}}}", entry(names[0], first), entry(names[1], second)), 8)
    };
    assert!(two("[0,4]", "[2,6]", ["a", "b"]).contains("overlaps"));
    assert!(two("[0,4]", "[0,4]", ["a", "b"]).contains("overlaps"));
    assert!(two("[0,4]", "[4,8]", ["a", "a"]).contains("twice"));
    assert!(two("[0,4]", "[4,8]", ["a", "\\u0061"]).contains("twice"));
}

#[test]
fn random_damage_never_panics() {
    let good = file(GOOD, 15);
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random() % 4 {
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        if let Ok(header) = Header::parse("f", &bytes, bytes.len() as u64) {
            assert!(header.tensors.iter().all(|t| t.range.end + header.data_start <= bytes.len()));
        }
    }
}
