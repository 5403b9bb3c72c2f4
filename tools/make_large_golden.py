"""Records what the specification says of one picture and prompt, for a model too large to load whole.

    python tools/make_large_golden.py MODEL OUT.safetensors --spec DIR --image PICTURE --prompt TEXT [--max-new-tokens 4]

MODEL is a Hugging Face folder in f32, such as `instructblip export` writes. DIR holds `forward.py`: the
forward pass in plain torch, whose stages this script calls with weights that are mapped from the disk one
tensor at a time. OUT has the tensors of `tools/make_golden.py`. Packages: tools/pocket/requirements.txt.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from make_golden import processor_of
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig


class MappedWeights(Mapping):
    """The tensors of a checkpoint's folder by name, each mapped when it is asked for."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("model*.safetensors"))
        self.files = [safe_open(path, framework="pt") for path in paths]
        self.places = {name: file for file in self.files for name in file.keys()}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.places[name].get_tensor(name).float()

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self):
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


@torch.no_grad()
def record(folder: Path, spec, picture: str, prompt: str, max_new_tokens: int) -> dict[str, torch.Tensor]:
    config = json.loads((folder / "config.json").read_text())
    weights = MappedWeights(folder)
    text_config = config["text_config"]
    queries = config["num_query_tokens"]
    image = Image.open(picture).convert("RGB")
    processor = processor_of(str(folder), AutoConfig.from_pretrained(folder))
    inputs = processor(images=image, text=prompt, return_tensors="pt")
    began = time.monotonic()

    def done(stage: str) -> None:
        nonlocal began
        now = time.monotonic()
        print(f"{stage}: {now - began:.1f} s", flush=True)
        began = now

    vision = spec.vision(inputs.pixel_values[0], config["vision_config"], weights)
    done("vision")
    qformer = spec.qformer(inputs.qformer_input_ids[0], vision, config["qformer_config"], weights)
    projected = spec.lin(qformer[:queries], weights, "language_projection")
    done("Q-Former")
    text = weights["language_model.shared.weight"][inputs.input_ids[0, queries:]]
    encoded = spec.t5enc(torch.cat([projected, text]), text_config, weights)
    done("encoder")
    decoder = spec.Dec(encoded, text_config, weights)
    ids, first, margins = [text_config.get("decoder_start_token_id", 0)], None, []
    while len(ids) <= max_new_tokens and (len(ids) == 1 or ids[-1] != 1):
        logits = decoder.step(ids[-1])
        first = logits if first is None else first
        best = logits.topk(2).values
        margins.append(float(best[0] - best[1]))
        ids.append(int(logits.argmax()))
        done(f"token {len(ids) - 1}")
    print(f"greedy {ids}, smallest margin {min(margins):.3g}, deviation of the first logits {float(first.std()):.3g}")
    return {
        "image_rgb_u8": torch.from_numpy(np.array(image)),
        "pixel_values": inputs.pixel_values,
        "input_ids": inputs.input_ids,
        "qformer_input_ids": inputs.qformer_input_ids,
        "vision_last_hidden_state": vision[None],
        "qformer_last_hidden_state": qformer[None],
        "language_projection": projected[None],
        "encoder_last_hidden_state": encoded[None],
        "decoder_step0_logits": first[None],
        "greedy_ids": torch.tensor([ids]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out")
    parser.add_argument("--spec", required=True, type=Path)
    parser.add_argument("--image", required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--max-new-tokens", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.spec))
    import forward

    torch.set_num_threads(arguments.threads)
    tensors = record(arguments.model, forward, arguments.image, arguments.prompt, arguments.max_new_tokens)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        arguments.out,
        metadata={"prompt": arguments.prompt, "max_new_tokens": str(arguments.max_new_tokens)},
    )


if __name__ == "__main__":
    main()
