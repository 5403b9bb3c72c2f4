"""Exact match, by data set, of one or several checkpoint folders on scenes they have not seen.

Two tests: unseen scenes (two to five objects), and scenes with a colour-shape pair held out of all training.  Pictures
are drawn at 288 pixels and go through the folder's own processor; answers are decoded greedily by transformers.  An
invented question is right if its answer in that scene is the given one.

    python evaluate.py pocket=hf exported-q8 exported-q4 --questions 2400 --json out.json --markdown out.md
    python evaluate.py pocket=hf --round 8 4          # also with weights rounded to 8 and to 4 bits here
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from transformers import InstructBlipForConditionalGeneration, InstructBlipProcessor

from instructions import DATA_SETS, Example, caption_long, mixed_example
from quantization import quantize_model_
from scenes import draw, random_scene

TESTS = {"unseen scenes": (7001, False), "held-out pairs": (7002, True)}


def questions(seed: int, held_out: bool, count: int) -> list[tuple]:
    """(scene, picture, example), drawn from the mixture of training."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        scene = random_scene(rng, held_out, int(rng.integers(2, 6)))
        picture = draw(scene, rng, pixels=288, noise=float(rng.uniform(0, 4)))
        out.append((scene, picture, mixed_example(scene, rng, held=held_out)))
    return out


@torch.no_grad()
def answers(model, processor, items: list[tuple], batch: int) -> list[str]:
    out: list[str] = [""] * len(items)
    order = sorted(range(len(items)), key=lambda i: (len(items[i][2].answer), len(items[i][2].instruction)))
    for start in range(0, len(order), batch):
        part = order[start:start + batch]
        x = processor(images=[items[i][1] for i in part], text=[items[i][2].instruction for i in part], padding=True, return_tensors="pt")
        ids = model.generate(**x, do_sample=False, num_beams=1, max_new_tokens=72)
        for i, text in zip(part, processor.batch_decode(ids, skip_special_tokens=True)):
            out[i] = text.strip()
    return out


def right(e: Example, answer: str) -> bool:
    return answer in e.accept


def score(items: list[tuple], given: list[str]) -> dict[str, float]:
    hits: dict[str, list[bool]] = {}
    for (_, _, e), a in zip(items, given):
        hits.setdefault(e.data_set, []).append(right(e, a))
    table = {d: round(100 * float(np.mean(hits[d])), 1) for d in DATA_SETS if d in hits}
    table["all"] = round(100 * float(np.mean([x for h in hits.values() for x in h])), 2)
    return table


def load(folder: str) -> tuple:
    model = InstructBlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return model, InstructBlipProcessor.from_pretrained(folder)


def markdown(results: dict, count: int) -> str:
    rows = []
    for test in TESTS:
        names = [n for n in results if test in results[n]]
        if not names:
            continue
        rows += [f"**{test}**, {count} questions", "", "| data set | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
        for d in [*DATA_SETS, "all"]:
            rows.append(f"| {d} | " + " | ".join(str(results[n][test].get(d, "")) for n in names) + " |")
        rows.append("")
    return "\n".join(rows)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folders", nargs="+", help="checkpoint folders, each as FOLDER or NAME=FOLDER")
    p.add_argument("--questions", type=int, default=2400)
    p.add_argument("--round", type=int, nargs="*", default=[], help="also evaluate the first folder with weights rounded to these bits")
    p.add_argument("--batch", type=int, default=100)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--errors", type=int, default=0, help="print this many wrong answers of the first folder and test")
    p.add_argument("--json", type=Path)
    p.add_argument("--markdown", type=Path)
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    named = [(f.split("=", 1) if "=" in f else (Path(f).name, f)) for f in args.folders]
    jobs = [(name, folder, 0) for name, folder in named] + [(f"{named[0][0]}, {b} bits", named[0][1], b) for b in args.round]
    tests = {name: questions(seed, held, args.questions) for name, (seed, held) in TESTS.items()}
    results: dict[str, dict] = {}
    for name, folder, bits in jobs:
        model, processor = load(folder)
        if bits:
            quantize_model_(model, bits)
        for test, items in tests.items():
            given = answers(model, processor, items, args.batch)
            results.setdefault(name, {})[test] = score(items, given)
            print(json.dumps({"model": name, "test": test, **results[name][test]}), flush=True)
            if args.errors and name == jobs[0][0] and test == next(iter(tests)):
                wrong = [(i, a) for i, a in zip(items, given) if not right(i[2], a)]
                for (scene, _, e), a in wrong[:args.errors]:
                    print(f"  {caption_long(scene)}\n    [{e.data_set}] {e.instruction} -> {a} (right: {e.answer})")
    if args.json:
        args.json.write_text(json.dumps({"questions": args.questions, "results": results}, indent=1) + "\n")
    text = markdown(results, args.questions)
    print(text)
    if args.markdown:
        args.markdown.write_text(text)


if __name__ == "__main__":
    main()
