"""Times the graphs of `export.py` in onnxruntime on the CPU; prints the samples as one JSON object.

    python tools/peer/native.py GRAPHS [--repetitions 1]

The first run of each format does not count. Uses every core, as onnxruntime does by itself. Packages:
tools/peer/requirements.txt.
"""

import argparse
import json
import platform
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import onnxruntime

STAGES = ["vision", "qformer", "encoder", "decoder"]


class Model:
    """The four graphs in one format of the weights."""

    def __init__(self, graphs: Path, format: str):
        def session(stage: str) -> onnxruntime.InferenceSession:
            return onnxruntime.InferenceSession(graphs / f"{stage}.{format}.onnx", providers=["CPUExecutionProvider"])

        self.case = json.loads((graphs / "case.json").read_text())
        size = self.case["size"]
        self.pixels = np.fromfile(graphs / "pixel_values.bin", np.float32).reshape(1, 3, size, size)
        self.vision, self.qformer, self.encoder, self.decoder = (session(stage) for stage in STAGES)

    def run(self) -> dict:
        """One picture, one question: milliseconds and ids."""
        case, start = self.case, perf_counter()
        image_embeds = self.vision.run(None, {"pixel_values": self.pixels})[0]
        asked = perf_counter()
        ids = np.array([case["qformerInputIds"]])
        query_embeds = self.qformer.run(None, {"image_embeds": image_embeds, "qformer_input_ids": ids})[0]
        cross = named(self.encoder, {"query_embeds": query_embeds, "input_ids": np.array([case["inputIds"]])})
        read = perf_counter()
        ids, times = self.decode(cross)
        return {
            "imageEncodeMs": 1e3 * (asked - start),
            "prefillMs": 1e3 * (read - asked),
            "tokenMs": 1e3 * median(times[1:]),
            "ids": ids,
        }

    def decode(self, cross: dict) -> tuple[list[int], list[float]]:
        """As many tokens, chosen greedily, as the case has, and the seconds that each took."""
        case = self.case
        heads, width, count = case["heads"], case["headWidth"], len(case["greedyIds"])
        cache = {}
        for layer in range(case["layers"]):
            cache[f"past_key.{layer}"] = np.zeros((1, heads, width, 0), np.float32)
            cache[f"past_value.{layer}"] = np.zeros((1, heads, 0, width), np.float32)
        ids, times = [], []
        while len(ids) < count:
            begun = perf_counter()
            token = np.array([[ids[-1] if ids else case["startId"]]])
            start = np.array([count - len(ids)])
            outputs = named(self.decoder, {"input_ids": token, "bias_start": start, **cache, **cross})
            ids.append(int(outputs.pop("logits").argmax()))
            times.append(perf_counter() - begun)
            cache = {name.replace("present", "past"): value for name, value in outputs.items()}
        return ids, times


def named(session: onnxruntime.InferenceSession, inputs: dict) -> dict:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", type=Path)
    parser.add_argument("--repetitions", type=int, default=1)
    arguments = parser.parse_args()
    samples = {}
    for format in json.loads((arguments.graphs / "case.json").read_text())["formats"]:
        model = Model(arguments.graphs, format)
        samples[format] = [model.run() for _ in range(arguments.repetitions + 1)][1:]
    machine = f"onnxruntime {onnxruntime.__version__}, CPU, {platform.machine()}"
    print(json.dumps({"machine": machine, "samples": samples}))


if __name__ == "__main__":
    main()
