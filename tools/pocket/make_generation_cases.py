"""Beam search, penalties, ranking and attention of the pocket model by transformers, and draws of the native command line.

The browser must repeat all of them: `tests/browser/generation.test.mjs`.
"""
from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import torch
from PIL import Image

from evaluate import load

END = 1
BEAMS = [
    ("shapes", "Describe the picture in detail.", {"num_beams": 5, "num_return_sequences": 3}),
    ("crowd", "Write a short caption.", {"num_beams": 5, "num_return_sequences": 5, "length_penalty": -1.0}),
    ("digits", "Where is the 7? Answer in a full sentence.", {"repetition_penalty": 1.5}),
    ("held-out", "Describe the picture.", {"no_repeat_ngram_size": 3, "min_length": 12}),
]
RANKED = [
    ("shapes", "What color is the triangle?", ["red", "yellow", "a yellow triangle", "blue"]),
    ("crowd", "How many hearts do you see?", ["one", "two", "three", "2"]),
]
LOOKED = [("shapes", "What color is the triangle?"), ("shapes", "Where is the heart?"), ("pair", "What color is the triangle?")]
DRAWN = [
    ("shapes", "Describe the picture in detail.", {"temperature": 4.0, "top_k": 0, "seed": 7, "max_new_tokens": 24}),
    ("letters", "Describe the picture.", {"temperature": 3.0, "top_p": 0.9, "seed": 4294967295, "max_new_tokens": 24}),
]


def camel(options: dict) -> dict:
    """The options under their JavaScript names: num_beams is numBeams."""
    return {name[0] + name.title().replace("_", "")[1:]: value for name, value in options.items()}


@torch.no_grad()
def beams(model, processor, pictures: Path) -> list[dict]:
    rows = []
    for name, question, options in BEAMS:
        x = processor(images=Image.open(pictures / f"{name}.png").convert("RGB"), text=question, return_tensors="pt")
        out = model.generate(**x, max_new_tokens=72, return_dict_in_generate=True, output_scores=True, **options)
        ids = [row[1 : row.index(END) + 1] for row in out.sequences.tolist()]  # without start and padding
        scores = getattr(out, "sequences_scores", None)
        rows.append({"picture": f"examples/{name}.png", "question": question, "options": {**camel(options), "maxNewTokens": 72},
                     "ids": ids, "scores": None if scores is None else [round(s, 6) for s in scores.tolist()]})
    return rows


@torch.no_grad()
def ranked(model, processor, pictures: Path) -> list[dict]:
    rows = []
    for name, question, candidates in RANKED:
        x = processor(images=Image.open(pictures / f"{name}.png").convert("RGB"), text=question, return_tensors="pt")
        likelihoods = []
        for text in candidates:
            labels = processor.tokenizer(text, return_tensors="pt").input_ids
            logits = model(**x, labels=labels).logits.log_softmax(-1)
            likelihoods.append(round(logits.gather(-1, labels[..., None]).sum().item(), 6))
        rows.append({"picture": f"examples/{name}.png", "question": question, "candidates": candidates, "logLikelihoods": likelihoods})
    return rows


@torch.no_grad()
def looked(model, processor, pictures: Path) -> list[dict]:
    rows = []
    for name, question in LOOKED:
        x = processor(images=Image.open(pictures / f"{name}.png").convert("RGB"), text=question, return_tensors="pt")
        vision = model.vision_model(pixel_values=x.pixel_values).last_hidden_state
        queries = model.query_tokens
        mask = torch.cat([torch.ones(queries.shape[:2], dtype=torch.long), x.qformer_attention_mask], 1)
        out = model.qformer(input_ids=x.qformer_input_ids, attention_mask=mask, query_embeds=queries, encoder_hidden_states=vision,
                            encoder_attention_mask=torch.ones(vision.shape[:2], dtype=torch.long), output_attentions=True)
        layers = [layer for layer in out.cross_attentions if torch.is_tensor(layer)]
        means = [layer.mean((0, 1, 2)).tolist() for layer in layers]  # over batch, heads and queries
        rows.append({"picture": f"examples/{name}.png", "question": question, "layers": [
            {"classShare": round(mean[0], 6), "average": [round(v, 6) for v in mean[1:]]} for mean in means]})
    return rows


def drawn(binary: Path, model: Path, pictures: Path) -> list[dict]:
    rows = []
    for name, question, options in DRAWN:
        flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
        command = [binary, "ask", "--json", "--model", model, "--image", pictures / f"{name}.png", "--do-sample", *flags, question]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append({"picture": f"examples/{name}.png", "question": question, "options": {**camel(options), "doSample": True},
                     "ids": answer["answer"]["ids"]})
    return rows


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("pictures", type=Path, help="folder of the example pictures")
    p.add_argument("checkpoint", help="the shipped shard set, written back by `instructblip export`")
    p.add_argument("shards", type=Path, help="the shipped shard set")
    p.add_argument("answers", type=Path, help="JSON file to write")
    p.add_argument("--binary", type=Path, default=Path("target/debug/instructblip"))
    args = p.parse_args()
    model, processor = load(args.checkpoint)
    rows = {"beams": beams(model, processor, args.pictures), "ranked": ranked(model, processor, args.pictures),
            "looked": looked(model, processor, args.pictures),
            "drawn": drawn(args.binary, args.shards, args.pictures)}
    args.answers.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
