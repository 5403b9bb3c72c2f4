#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use serde_json::{Value, json};

const WORDS: [&str; 12] =
    ["<pad>", "</s>", "<unk>", "▁", "▁what", "▁is", "▁this", "t", "h", "a", "?", "▁red"];
const BERT_WORDS: [&str; 11] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "what", "is", "this", "?", "red", "##s", "a"];

fn language_json() -> Value {
    let special = |id: usize| json!({"id": id, "content": WORDS[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let metaspace =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    json!({
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": [special(0), special(1), special(2)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": metaspace, "decoder": metaspace,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": false,
            "vocab": WORDS.iter().enumerate().map(|(i, w)| json!([w, -(i as f64)])).collect::<Vec<_>>()}
    })
}

fn bert_json() -> Value {
    let vocab: serde_json::Map<String, Value> =
        BERT_WORDS.iter().enumerate().map(|(i, w)| ((*w).to_owned(), json!(i))).collect();
    let piece = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let special = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "post_processor": {"type": "TemplateProcessing",
            "single": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]")],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3)}},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab}
    })
}

fn config(positions: usize) -> ModelConfig {
    config_with(positions, |_| ())
}

fn config_with(positions: usize, change: impl FnOnce(&mut Value)) -> ModelConfig {
    let mut json = json!({
        "model_type": "instructblip",
        "qformer_config": {"vocab_size": 11, "max_position_embeddings": positions},
        "text_config": {"model_type": "t5", "vocab_size": 12, "feed_forward_proj": "gated-gelu",
                        "tie_word_embeddings": false}
    });
    change(&mut json);
    ModelConfig::parse(json.to_string().as_bytes()).unwrap()
}

fn build(language: &Value, bert: &Value, config: &ModelConfig) -> Result<Tokenizers> {
    Tokenizers::new(language.to_string().as_bytes(), Some(bert.to_string().as_bytes()), config)
}

fn sample() -> Tokenizers {
    build(&language_json(), &bert_json(), &config(512)).unwrap()
}

#[test]
fn special_tokens_go_where_each_model_wants_them() {
    // The file's own truncation and padding are not ours.
    let e = sample().encode("What is this?").unwrap();
    assert_eq!(e.qformer, QFormerIds(vec![2, 4, 5, 6, 7, 3]));
    let e = sample().encode("what is  this?").unwrap();
    assert_eq!(e.language, LanguageIds(vec![4, 5, 6, 10, 1]));
    assert!(!e.truncated);
}

#[test]
fn nothing_to_read_is_an_empty_question() {
    let tokenizers = sample();
    for empty in ["", " ", "\n\t ", "\u{3000}"] {
        assert_eq!(tokenizers.encode(empty).unwrap_err().code(), "question-empty");
    }
    assert_eq!(tokenizers.encode_any("").unwrap().language.0, [1]);
    assert_eq!(tokenizers.encode_any("").unwrap().qformer.0, [2, 3]);
}

#[test]
fn long_prompts_lose_their_beginning() {
    let tokenizers = build(&language_json(), &bert_json(), &config(9)).unwrap();
    let prompt = format!("{}this is red", "what ".repeat(600));
    let e = tokenizers.encode(&prompt).unwrap();
    assert!(e.truncated);
    assert_eq!(e.language.0.len(), 512);
    assert_eq!((e.language.0[0], &e.language.0[507..]), (4, &[4, 6, 5, 11, 1][..]));
    assert_eq!(e.qformer.0, [2, 4, 4, 4, 4, 6, 5, 8, 3]);

    // Exactly as long as there is room for is not truncated; one more is, in that model alone.
    let fits = tokenizers.encode("what is this red is this a").unwrap();
    assert_eq!((fits.qformer.0.len(), fits.truncated), (9, false));
    let over = tokenizers.encode("? what is this red is this a").unwrap();
    assert_eq!((over.qformer.0.len(), over.truncated), (9, true));
    assert_eq!(over.qformer, fits.qformer);
}

#[test]
fn a_prompt_of_megabytes_is_cut_before_it_is_read() {
    let tokenizers = sample();
    let words = "what is this ".repeat(200_000);
    let e = tokenizers.encode(&words).unwrap();
    let short = tokenizers.encode(&words[words.len() - 13_000..]).unwrap();
    assert!(e.truncated);
    assert_eq!((e.language, e.qformer), (short.language, short.qformer));
    // No space to cut at, and characters of several bytes.
    assert!(tokenizers.encode(&"東".repeat(MAX_PROMPT_BYTES)).unwrap().truncated);
    assert!(end_of(&format!("{} ", "é".repeat(MAX_PROMPT_BYTES))).len() <= MAX_PROMPT_BYTES);
    assert_eq!(end_of("short"), "short");
}

#[test]
fn streamed_pieces_are_the_whole_text() {
    let tokenizers = sample();
    for ids in [
        &[0, 4, 5, 6, 10, 1][..],
        &[0, 3, 7, 8, 9, 1],
        &[11, 11],
        &[2, 3, 3, 4],
        &[],
        &[0, 1],
        &[9, 4_000_000, 9],
    ] {
        let mut stream = tokenizers.stream();
        let mut pieces: Vec<String> =
            ids.iter().map(|&id| stream.push(&tokenizers, id).unwrap()).collect();
        pieces.push(stream.finish(&tokenizers).unwrap());
        assert_eq!(pieces.concat(), tokenizers.decode(ids).unwrap(), "{ids:?}");
    }
    assert_eq!(tokenizers.decode(&[0, 4, 5, 6, 10, 1]).unwrap(), "what is this?");
}

#[test]
fn half_a_character_waits_for_its_other_half() {
    let mut json = language_json();
    json["decoder"] = json!({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}]});
    let words = json["model"]["vocab"].as_array_mut().unwrap();
    (words[7], words[8]) = (json!(["<0xC3>", -7.0]), json!(["<0xA9>", -8.0]));
    let tokenizers = build(&json, &bert_json(), &config(512)).unwrap();
    let mut stream = tokenizers.stream();
    let pieces = [9, 7, 8, 9].map(|id| stream.push(&tokenizers, id).unwrap());
    assert_eq!(pieces, ["a", "", "é", "a"]);
    let mut stream = tokenizers.stream();
    assert_eq!([9, 7].map(|id| stream.push(&tokenizers, id).unwrap()), ["a", ""]);
    assert_eq!(stream.finish(&tokenizers).unwrap(), "\u{FFFD}");
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let ok = config(512);
    let refused = |language: &Value, bert: &Value, config: &ModelConfig| match build(
        language, bert, config,
    ) {
        Err(Error::TokenizerInvalid { file, reason }) => format!("{file}: {reason}"),
        other => panic!("{other:?}"),
    };
    // Ids beyond the embedding, in the vocabulary and among the added tokens.
    let small = config_with(512, |json| json["text_config"]["vocab_size"] = json!(11));
    assert!(refused(&language_json(), &bert_json(), &small).contains("rows"));
    let small = config_with(512, |json| json["qformer_config"]["vocab_size"] = json!(10));
    assert!(
        refused(&language_json(), &bert_json(), &small)
            .starts_with("qformer_tokenizer/tokenizer.json")
    );
    let mut beyond = bert_json();
    beyond["model"]["vocab"]["what"] = json!(u32::MAX);
    refused(&language_json(), &beyond, &ok);
    let mut beyond = language_json();
    beyond["added_tokens"][0]["id"] = json!(u32::MAX);
    refused(&beyond, &bert_json(), &ok);
    let mut beyond = language_json();
    beyond["post_processor"]["special_tokens"]["</s>"]["ids"] = json!([12]);
    assert!(refused(&beyond, &bert_json(), &ok).contains("id 12"));
    // The wrong end, no room, no Q-Former tokenizer, the two exchanged.
    let other_end = config_with(512, |json| json["text_config"]["eos_token_id"] = json!(2));
    assert!(refused(&language_json(), &bert_json(), &other_end).contains("end-of-sequence"));
    assert!(refused(&language_json(), &bert_json(), &config(2)).contains("no room"));
    assert!(Tokenizers::new(language_json().to_string().as_bytes(), None, &ok).is_err());
    refused(&bert_json(), &language_json(), &ok);
}

#[test]
fn lies_that_would_panic_deeper_down_are_refused() {
    let single = "/post_processor/single";
    let cases = [
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "?"})),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": ""})),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="})),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="})),
        ("/normalizer", json!({"type": "Precompiled"})),
        ("/normalizer", json!({"precompiled_charsmap": "AAAA"})),
        (
            "/normalizer",
            json!({"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": 3}]}),
        ),
        (
            "/normalizer",
            json!({"type": "Replace", "pattern": {"Regex": "(((a+)+)+".repeat(99)}, "content": ""}),
        ),
        ("/normalizer", json!({"type": "Replace", "pattern": {"Regex": "("}, "content": ""})),
        ("/normalizer", json!("x")),
        (
            "/pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Removed", "invert": false}),
        ),
        (
            "/pre_tokenizer",
            json!({"type": "Metaspace", "replacement": "", "prepend_scheme": "sometimes"}),
        ),
        ("/decoder", json!({"type": "Strip", "content": "x", "start": 9, "stop": 9})),
        (single, json!([{"Sequence": {"id": "B", "type_id": 0}}])),
        (
            single,
            json!([{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]),
        ),
        (
            single,
            json!([{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<gone>", "type_id": 0}}]),
        ),
        (single, json!([])),
        (single, json!(null)),
        ("/post_processor", json!({"type": "ByteLevel"})),
        ("/post_processor", json!(null)),
        ("/model/vocab", json!([["x".repeat(100_000), 0.0], ["</s>", 0.0], ["<unk>", 0.0]])),
        ("/model/vocab", json!([])),
        ("/model/vocab", json!(3)),
        ("/model/vocab/3", json!(["a"])),
        ("/model/unk_id", json!(99)),
        ("/model/type", json!("BPE")),
        ("/model", json!(null)),
        ("/added_tokens", json!(vec![json!({"id": 1, "content": "</s>"}); 5000])),
        ("/added_tokens/0/content", json!("y".repeat(100_000))),
        ("/version", json!("9")),
        ("/truncation", json!(1)),
    ];
    for (path, value) in cases {
        let mut file = language_json();
        *file.pointer_mut(path).unwrap() = value.clone();
        let error = build(&file, &bert_json(), &config(512))
            .err()
            .unwrap_or_else(|| panic!("{path} = {value}"));
        assert_eq!(error.code(), "tokenizer-invalid", "{path}: {error}");
    }
    for bytes in [&b""[..], b"{", b"null", b"[]", b"\xFF\xFE", &b"[".repeat(300_000)] {
        assert_eq!(
            Tokenizers::new(bytes, None, &config(512)).unwrap_err().code(),
            "tokenizer-invalid"
        );
    }
}

/// A file of the form of [`language_json`] whose `path` is `value`, refused; the reason.
fn refusal(path: &str, value: Value) -> String {
    let mut file = language_json();
    *file.pointer_mut(path).unwrap() = value;
    match build(&file, &bert_json(), &config(512)) {
        Err(Error::TokenizerInvalid { reason, .. }) => reason,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn parts_that_multiply_a_text_are_refused() {
    let longer = |text: &str| json!({"type": "Replace", "pattern": {"String": text}, "content": text.repeat(128)});
    for parts in [3, 4] {
        let value = json!({"type": "Sequence", "normalizers": vec![longer("a"); parts]});
        assert!(refusal("/normalizer", value).contains("times as long"), "{parts} normalizers");
    }
    let decoder = json!({"type": "Replace", "pattern": {"Regex": "."}, "content": ".".repeat(128)});
    for parts in [1, 5] {
        let value = json!({"type": "Sequence", "decoders": vec![&decoder; parts]});
        assert!(refusal("/decoder", value).contains("times as long"), "{parts} decoders");
    }
    // Some of it by the normalizer and some by the pre-tokenizer, and within one another.
    let prepend = json!({"type": "Prepend", "prepend": "a".repeat(16)});
    let nested = json!({"type": "Sequence", "normalizers": [&prepend, {"type": "Sequence", "normalizers": [&prepend]}]});
    assert!(refusal("/normalizer", nested).contains("1156 times"));
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"});
    let value = json!({"type": "Sequence", "pretokenizers": vec![metaspace; 4]});
    assert!(refusal("/pre_tokenizer", value).contains("times as long"));
    let parts = json!({"type": "Sequence", "normalizers": vec![json!({"type": "Nmt"}); 100]});
    assert!(refusal("/normalizer", parts).contains("more than 16"));
}

#[test]
fn patterns_that_backtrack_are_refused() {
    for pattern in ["(?:.{0,30}){4}(?!)|.", "(a+)+(?=b)", r"(a)\1"] {
        let value = json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": ""});
        assert!(refusal("/normalizer", value).contains("is not supported"), "{pattern}");
    }
}

#[test]
fn patterns_that_match_nothing_are_refused() {
    // The crate puts "x" before each "a" and panics in the part after it.
    for pattern in ["(?=a)", r"\b", "^", "b*"] {
        let insert = json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": "x"});
        let parts = json!({"type": "Sequence", "normalizers": [insert, {"type": "NFKC"}]});
        assert!(refusal("/normalizer", parts).contains("is not supported"), "{pattern}");
    }
}

#[test]
fn added_tokens_may_not_become_too_long_together() {
    let token = |id: usize| json!({"id": 0, "content": format!("{id:0512}"), "normalized": true});
    let tokens: Vec<Value> = (0..2048).map(token).collect();
    assert!(refusal("/added_tokens", json!(tokens)).contains("added tokens have"));
}

#[test]
fn values_that_nobody_reads_are_not_built() {
    // Millions of them, where each part may have some thousands.
    let zeros = Value::Array(vec![json!(0); 2_000_000]);
    for path in ["/version", "/padding", "/normalizer", "/pre_tokenizer", "/post_processor"] {
        assert!(refusal(path, json!({"type": "NFC", "x": &zeros})).contains("more than"), "{path}");
    }
    assert!(refusal("/decoder", json!({"type": "Fuse", "x": &zeros})).contains("more than"));
    assert!(refusal("/model/unk_id", zeros.clone()).contains("more than 64 values"));
    assert!(refusal("/added_tokens", json!([{"id": 0, "x": &zeros}])).contains("more than"));
    let pieces = Value::Array(vec![json!(["", 0]); 600_000]);
    assert!(refusal("/model/vocab", pieces).contains("more than 524288 pieces"));
    // A member that comes twice, of which two readers could take different ones.
    let twice = language_json().to_string().replacen(
        "\"type\":\"NFKC\"",
        "\"type\":\"NFKC\",\"type\":\"NFC\"",
        1,
    );
    let bert = bert_json().to_string();
    let error = Tokenizers::new(twice.as_bytes(), Some(bert.as_bytes()), &config(512)).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    // Longer than any tokenizer is.
    let long = language_json().to_string() + &" ".repeat(16 << 20);
    let error = Tokenizers::new(long.as_bytes(), Some(bert.as_bytes()), &config(512)).unwrap_err();
    assert!(error.to_string().contains("16777216"), "{error}");
}

#[test]
fn a_sound_character_map_is_used_and_a_damaged_one_never_panics() {
    // A double array in which the byte 'A' leads to a leaf whose replacement is "a".
    let mut trie = vec![0u32; 512];
    trie[0] = 256 << 10;
    let node = 256 ^ usize::from(b'A');
    trie[node] = (node as u32 ^ 1) << 10 | 1 << 8 | u32::from(b'A');
    trie[1] = 1 << 31;
    let encode = |trie: &[u32], replacements: &[u8]| {
        let mut bytes = (trie.len() as u32 * 4).to_le_bytes().to_vec();
        bytes.extend(trie.iter().flat_map(|u| u.to_le_bytes()));
        bytes.extend(replacements);
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits =
                group.iter().fold(0u32, |b, &v| b << 8 | u32::from(v)) << (8 * (3 - group.len()));
            for i in 0..4 {
                text.push(if i > group.len() {
                    '='
                } else {
                    digits[(bits >> (18 - 6 * i) & 63) as usize] as char
                });
            }
        }
        text
    };
    let with_map = |map: String| {
        let mut file = language_json();
        file["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": map});
        build(&file, &bert_json(), &config(512))
    };
    let sound = with_map(encode(&trie, b"a\0")).unwrap();
    assert_eq!(sound.encode("A").unwrap().language, sound.encode("a").unwrap().language);

    for (at, unit) in [
        (0, 600 << 10),
        (0, u32::MAX),
        (node, trie[node] | 1 << 30),
        (1, 3 | 1 << 31),
        (1, u32::MAX),
    ] {
        let mut bad = trie.clone();
        bad[at] = unit;
        assert!(with_map(encode(&bad, b"a\0")).is_err(), "unit {at} = {unit:#x}");
    }
    assert!(with_map(encode(&trie, b"\xC3")).is_err());
    // "A" becomes 200 bytes, or all the rest where no zero byte ends it.
    assert!(with_map(encode(&trie, &[b'a'; 20])).is_ok());
    for replacement in [[&[b'a'; 200][..], b"\0"].concat(), vec![b'a'; 100_000]] {
        let error = with_map(encode(&trie, &replacement)).unwrap_err().to_string();
        assert!(error.contains("times as long"), "{error}");
    }
    let mut inside_a_character = trie.clone();
    inside_a_character[1] = 1 << 31 | 1;
    assert!(with_map(encode(&inside_a_character, "é\0".as_bytes())).is_err());

    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..500 {
        let mut bad = trie.clone();
        for _ in 0..40 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bad[(state % 512) as usize] =
                (state >> 20) as u32 & if state & 1 == 0 { u32::MAX } else { 0x0007_FFFF };
        }
        if let Ok(tokenizers) = with_map(encode(&bad, b"a\0bc\0")) {
            let _ = tokenizers.encode("What is A? ABC abc é 東京");
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let whole = language_json().to_string().into_bytes();
    let config = config(512);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = b"0123456789[]{}\",:eABx"[random(21)];
        }
        if let Ok(tokenizers) =
            Tokenizers::new(&bytes, Some(bert_json().to_string().as_bytes()), &config)
        {
            let _ = tokenizers.encode("what is  this? t h a");
            let _ = tokenizers.decode(&[0, 5, 2, 9, 77]);
        }
    }
}
