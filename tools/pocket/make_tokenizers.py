"""The two small tokenizers, trained on our own text: T5-style (Unigram) at the top, BERT-style (WordPiece) beside it.

Every printable ASCII character is in both vocabularies, so whatever is typed can be read; every word of our own text is
one piece, so that a colour or a shape is one vector.
"""
from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers)
from transformers import BertTokenizerFast, T5TokenizerFast

from instructions import mixed_example
from scenes import random_scene

ASCII = [chr(c) for c in range(33, 127)]
T5_PARTS, BERT_PARTS = 320, 320
SPECIAL_T5 = ["<pad>", "</s>", "<unk>"]
SPECIAL_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
QFORMER_FOLDER = "qformer_tokenizer"


def corpus(seed: int, examples: int) -> list[str]:
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(examples):
        e = mixed_example(random_scene(rng, held_out=i % 8 == 0), rng, held=True)
        lines += [e.instruction, e.answer]
    return lines


def words_of(lines: list[str]) -> Counter:
    return Counter(w for line in lines for w in re.findall(r"[A-Za-z]+|[0-9]", line))


def t5_style(lines: list[str]) -> Tokenizer:
    """Unigram over words with a leading mark for the space, as T5's; ids 0, 1, 2 are pad, end and unknown.

    The trainer finds parts of words; our own words join them at their frequency, and the parts' scores are lowered, so
    that a known word is never taken apart.
    """
    words = words_of(lines)
    trainer = trainers.UnigramTrainer(vocab_size=T5_PARTS, special_tokens=SPECIAL_T5, unk_token="<unk>", max_piece_length=12,
                                      initial_alphabet=[*ASCII, "▁"], show_progress=False)
    first = Tokenizer(models.Unigram())
    first.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    first.train_from_iterator(sorted(words), trainer)
    score = {piece: s - 14 for piece, s in json.loads(first.to_str())["model"]["vocab"] if piece not in SPECIAL_T5}
    score |= {"▁" + w: math.log(n / words.total()) for w, n in words.items()}
    for c in [*ASCII, "▁"]:
        score.setdefault(c, min(score.values()))
    vocab = [(s, 0.0) for s in SPECIAL_T5] + sorted(score.items(), key=lambda x: (-x[1], x[0]))
    out = Tokenizer(models.Unigram(vocab, unk_id=2))
    out.normalizer = normalizers.Sequence([normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    out.pre_tokenizer = first.pre_tokenizer
    out.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    out.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return out


def bert_style(lines: list[str]) -> Tokenizer:
    """WordPiece on lower-cased text, as BERT's: special tokens, characters, our own words, and the parts the trainer found."""
    first = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    first.normalizer = normalizers.BertNormalizer(lowercase=True)
    first.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = sorted({c.lower() for c in ASCII})
    trainer = trainers.WordPieceTrainer(vocab_size=BERT_PARTS, special_tokens=SPECIAL_BERT, initial_alphabet=alphabet,
                                        continuing_subword_prefix="##", show_progress=False)
    first.train_from_iterator(lines, trainer)
    found = first.get_vocab()
    words = sorted({w.lower() for w in words_of(lines)})
    pieces = [*SPECIAL_BERT, *alphabet, *("##" + c for c in alphabet if c.isalnum()), *words, *sorted(found, key=found.get)]
    ids = {p: i for i, p in enumerate(dict.fromkeys(pieces))}
    out = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    out.normalizer, out.pre_tokenizer = first.normalizer, first.pre_tokenizer
    out.decoder = decoders.WordPiece(prefix="##")
    out.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])])
    return out


def save(out: Path, seed: int, examples: int) -> None:
    lines = corpus(seed, examples)
    out.mkdir(parents=True, exist_ok=True)
    t5 = T5TokenizerFast(tokenizer_object=t5_style(lines), extra_ids=0, truncation_side="left",
                         model_max_length=512, clean_up_tokenization_spaces=False)
    t5.add_special_tokens({"additional_special_tokens": [AddedToken("<image>", normalized=False, special=True)]})
    t5.save_pretrained(out)
    bert = BertTokenizerFast(tokenizer_object=bert_style(lines), do_lower_case=True, truncation_side="left", model_max_length=128,
                             bos_token="[DEC]")
    bert.save_pretrained(out / QFORMER_FOLDER)


def load(folder: Path) -> tuple[T5TokenizerFast, BertTokenizerFast]:
    return T5TokenizerFast.from_pretrained(folder), BertTokenizerFast.from_pretrained(folder / QFORMER_FOLDER)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--run", type=Path, required=True, help="the tokenizers go to RUN/tokenizers")
    p.add_argument("--seed", type=int, default=5)
    p.add_argument("--examples", type=int, default=20000)
    args = p.parse_args()
    folder = args.run / "tokenizers"
    save(folder, args.seed, args.examples)
    t5, bert = load(folder)
    lines = corpus(args.seed + 1, 500)
    unknown = sum(2 in t5(line).input_ids for line in lines), sum(bert.unk_token_id in bert(line).input_ids for line in lines)
    wrong = sum(t5.decode(t5(line).input_ids, skip_special_tokens=True) != line for line in lines)
    split = sorted({w for line in lines for w in re.findall(r"[A-Za-z]+|[0-9]", line) if len(t5(w).input_ids) > 2})
    print(f"T5-style {len(t5)} pieces, BERT-style {len(bert)}; of {len(lines)} lines: unknown {unknown}, not returned {wrong}; split {split}")
    mean = np.mean([len(t5(line).input_ids) for line in lines])
    print(f"{mean:.1f} pieces a line; {t5('Can you tell me the colour of this thing ~ {x}?').tokens()}")
    print(bert("Can you tell me the colour of this thing ~ {x}?").tokens())


if __name__ == "__main__":
    main()
