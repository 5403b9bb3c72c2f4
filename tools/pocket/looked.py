"""How often the Q-Former's attention peaks on the object that a question names, against chance.

Draws unseen scenes of two to five objects, asks "Where is the X?" or "What color is the X?" where one object fits X, and
takes the maps that the command line writes.  A hit: the map's highest patch lies in the cell of X.  Chance: one cell of
nine, or, for who looks at objects only, one of the objects.

    cargo build && python looked.py ../../www/pocket --questions 200

Maps: of each layer that looks at the picture, of their mean, and of how these differ from the same for "Describe the
picture in detail.".  The command line draws the last layer's.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from instructions import refer
from scenes import GRID, Obj, Scene, draw, random_scene

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / "target" / "debug" / "instructblip"
AGAINST = "Describe the picture in detail."


def question(rng: np.random.Generator) -> tuple[Scene, Obj, str]:
    while True:
        scene = random_scene(rng, False, int(rng.integers(2, 6)))
        seen = scene[rng.integers(len(scene))]
        about_color = rng.random() < 0.5
        phrase = refer(scene, seen, rng, hide="color" if about_color else "")
        if phrase:
            return scene, seen, f"What color is the {phrase}?" if about_color else f"Where is the {phrase}?"


def maps(model: Path, picture: Path, text: str, out: Path) -> dict[str, np.ndarray]:
    subprocess.run(
        [COMMAND, "ask", "--model", model, "--image", picture, text, "--max-new-tokens", "1",
         "--attention", out, "--against", AGAINST],
        check=True, capture_output=True,
    )
    found = json.loads(out.read_text())
    named = {}
    for kind, picture_map in {"": found["pictures"][0], ", difference": found["difference"][0]}.items():
        layers = {f"layer {layer['layer']}{kind}": layer["average"] for layer in picture_map["layers"]}
        named |= layers | {f"mean of layers{kind}": np.mean(list(layers.values()), axis=0)}
    return {name: np.array(values).reshape(found["side"], found["side"]) for name, values in named.items()}


def cell_of_peak(values: np.ndarray) -> int:
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row * GRID // len(values) * GRID + column * GRID // len(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=8001)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    hits: dict[str, list[bool]] = {}
    objects = []
    with tempfile.TemporaryDirectory() as temporary:
        picture, out = Path(temporary) / "picture.png", Path(temporary) / "maps.json"
        for _ in range(arguments.questions):
            scene, seen, text = question(rng)
            draw(scene, rng, pixels=288, noise=float(rng.uniform(0, 4))).save(picture)
            objects.append(len(scene))
            for name, values in maps(arguments.model, picture, text, out).items():
                hits.setdefault(name, []).append(cell_of_peak(values) == seen.cell)
    print(f"{arguments.questions} questions; chance {100 / GRID**2:.1f} %, among objects {100 * np.mean(1 / np.array(objects)):.1f} %")
    for name, hit in hits.items():
        print(f"{name:24} {100 * np.mean(hit):5.1f} %")


if __name__ == "__main__":
    main()
