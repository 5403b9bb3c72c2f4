"""Example pictures for the page, and twenty questions about five of them with transformers' own greedy answers.

Pictures are drawn larger than the model's 96 pixels, in the style it was trained on.  The answers are what an
implementation must repeat, id by id.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from evaluate import load
from instructions import caption_long
from scenes import COLOR_NAMES, KINDS, PLACES, SIZES, Obj, Scene, draw


def scene(*objects: str) -> Scene:
    """Each object as 'big red circle, top left'."""
    out = []
    for text in objects:
        what, place = text.split(", ")
        size, color, kind = what.split()
        out.append(Obj(COLOR_NAMES.index(color), KINDS.index(kind), SIZES.index(size), PLACES.index(place)))
    return sorted(out, key=lambda o: o.cell)


PICTURES = {
    "shapes": scene("big red circle, top left", "small blue star, top right", "big yellow triangle, center", "small white heart, bottom"),
    "digits": scene("big black 7, left", "small red 3, top right", "big orange 9, bottom right"),
    "letters": scene("big purple K, top", "big blue A, center", "small green M, bottom left", "small black square, right"),
    "crowd": scene("small red heart, top left", "big red heart, top", "small red star, left", "big white cross, center", "big blue 5, bottom right"),
    "pair": scene("big green triangle, left", "small green circle, right"),
    "held-out": scene("big red cross, top left", "small yellow circle, center", "big blue triangle, bottom right"),
}
QUESTIONS = {
    "shapes": ["What color is the triangle?", "Describe the picture in detail.", "Is the circle left of the star?",
               "What is just above the heart?"],
    "digits": ["Which digit is red?", "How many digits are there?", "Where is the 7? Answer in a full sentence.",
               "Is there a blue star?"],
    "letters": ["What is in the center?", "What color is the letter K?", "Question: Are there any letters? Answer:",
                "Given the answer purple, write a question."],
    "crowd": ["How many red objects are there?", "How many hearts do you see?", "What is the white object?", "Write a short caption."],
    "held-out": ["What color is the cross?", "Describe the picture.", "What is the yellow object?", "How many circles are there?"],
}


def write_pictures(folder: Path, pixels: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, (name, s) in enumerate(PICTURES.items()):
        draw(s, np.random.default_rng(seed + i), pixels).save(folder / f"{name}.png", optimize=True)


@torch.no_grad()
def answer_all(checkpoint: str, pictures: Path) -> list[dict]:
    model, processor = load(checkpoint)
    rows = []
    for name, questions in QUESTIONS.items():
        picture = Image.open(pictures / f"{name}.png").convert("RGB")
        for q in questions:
            x = processor(images=picture, text=q, return_tensors="pt")
            ids = model.generate(**x, do_sample=False, num_beams=1, max_new_tokens=72)[0].tolist()
            rows.append({"picture": f"examples/{name}.png", "question": q,
                         "answer": processor.tokenizer.decode(ids, skip_special_tokens=True).strip(),
                         "ids": ids[1:], "scene": caption_long(PICTURES[name])})  # without the start token
    return rows


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("pictures", type=Path, help="folder for the pictures")
    p.add_argument("--checkpoint", help="checkpoint folder; without it only the pictures are written")
    p.add_argument("--answers", type=Path, help="JSON file for the questions and answers")
    p.add_argument("--pixels", type=int, default=384)
    p.add_argument("--seed", type=int, default=41)
    args = p.parse_args()
    write_pictures(args.pictures, args.pixels, args.seed)
    if args.checkpoint:
        rows = answer_all(args.checkpoint, args.pictures)
        text = json.dumps({"cases": rows}, indent=1)
        (args.answers.write_text(text + "\n") if args.answers else print(text))


if __name__ == "__main__":
    main()
