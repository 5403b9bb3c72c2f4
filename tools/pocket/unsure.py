"""The probability below which an answer of the pocket model should be called unsure.

Asks the shipped shard set, through `instructblip eval`, about scenes it has not seen, greedily. The
threshold is the highest, in steps of 0.01, that spares 95 % of the right answers of one set of scenes
(seed 7003). What it marks is then counted on others: the unseen scenes and held-out pairs of evaluate.py,
and questions that have no answer in any scene.

    cargo build && python unsure.py ../../www/pocket --questions 1000 --markdown unsure.md
"""
from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from instructions import mixed_example
from scenes import draw, random_scene

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / "target" / "debug" / "instructblip"
CHOOSING = "choosing the threshold"
# The seed, whether a held-out pair is in each scene, and whether the question fits the scene.
TESTS = {
    CHOOSING: (7003, False, True),
    "unseen scenes": (7001, False, True),
    "held-out pairs": (7002, True, True),
    "questions without an answer": (7004, False, False),
}
SPARED = 0.95
# About what is in no scene, in another language, or no question at all.
UNANSWERABLE = [
    "What color is the elephant?", "Is the person happy?", "How many cars are on the road?", "What is the man holding?",
    "Welche Farbe hat das Dreieck?", "¿Qué hay en la imagen?", "Où est le chat ?", "What time of day is it?", "hello",
    "Who painted this?", "What is the dog eating?", "Why?",
]


def make(folder: Path, seed: int, held_out: bool, answerable: bool, count: int) -> list[frozenset[str]]:
    """Pictures and a data set in `folder`; the right answers of each line."""
    rng = np.random.default_rng(seed)
    right = []
    folder.mkdir()
    with (folder / "data.jsonl").open("w") as lines:
        for i in range(count):
            scene = random_scene(rng, held_out, int(rng.integers(2, 6)))
            draw(scene, rng, pixels=288, noise=float(rng.uniform(0, 4))).save(folder / f"{i}.png")
            if answerable:
                example = mixed_example(scene, rng, held=held_out)
                text, accept = example.instruction, example.accept
            else:
                text, accept = UNANSWERABLE[i % len(UNANSWERABLE)], frozenset()
            right.append(accept)
            item = {"id": str(i), "image": f"{i}.png", "question": text, "prompt": "free", "answers": sorted(accept)[:1] or ["-"],
                    "metric": "exact"}
            lines.write(json.dumps(item) + "\n")
    return right


def ask(model: Path, folder: Path, right: list[frozenset[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Of each line, the probability of its answer, and whether that is right."""
    out = folder / "report.json"
    subprocess.run(
        [COMMAND, "eval", folder / "data.jsonl", "--model", model, "--out", out, "--num-beams", "1", "--max-new-tokens", "72",
         "--length-penalty", "1"],
        check=True, capture_output=True,
    )
    records = [json.loads(line) for line in out.with_suffix(".answers.jsonl").read_text().splitlines()[1:]]
    found = {int(record["id"]): record for record in records}
    probability = np.array([found[i]["probability"] for i in range(len(right))])
    return probability, np.array([found[i]["text"].strip() in accept for i, accept in enumerate(right)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--questions", type=int, default=1000, help="of each set")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (test, how) in enumerate(TESTS.items()):
            place = Path(folder) / str(number)
            found[test] = ask(args.model, place, make(place, *how, args.questions))
    probability, is_right = found[CHOOSING]
    threshold = np.floor(100 * np.quantile(probability[is_right], 1 - SPARED)) / 100
    percent = lambda part: f"{100 * part.mean():.1f}" if part.size else ""
    rows = [f"`unsure_below` {threshold:.2f}", "", "| questions | right | wrong answers marked | right answers spared |", "|---|---:|---:|---:|"]
    for test, (probability, is_right) in found.items():
        marked = probability < threshold
        rows.append(f"| {test} | {percent(is_right)} | {marked[~is_right].sum()} of {(~is_right).sum()} | {percent(~marked[is_right])} |")
    text = "\n".join(rows) + "\n"
    print(text)
    if args.markdown:
        args.markdown.write_text(text)


if __name__ == "__main__":
    main()
