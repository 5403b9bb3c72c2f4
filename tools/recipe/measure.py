"""What 4-bit weights cost, part by part: the figures behind the default recipe of `instructblip convert --quant q4`.

For every part of the model the checkpoint is converted and exported twice by the command line, so that the weights are
exactly those that ship: with this part alone in q4 (the rest f32), and with everything in q4 but this part in q8.  Both
answer the same questions about drawn scenes, teacher-forced on the reference answers; the table shows the divergence
KL(f32 || variant) of the next-token distributions in millinats, and the relative error of each stage.  The bytes that q8
adds are counted on the shapes of a second checkpoint, the full size.

    cargo build && python tools/recipe/measure.py target/debug/instructblip POCKET --full FULL --questions 300
"""
from __future__ import annotations

import argparse
import fnmatch
import json
import math
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from transformers import InstructBlipForConditionalGeneration, InstructBlipProcessor

sys.path.append(str(Path(__file__).parents[1] / "pocket"))
from evaluate import questions  # noqa: E402

SEED = 7003
ALIASES = {"language_model.encoder.embed_tokens.weight", "language_model.decoder.embed_tokens.weight"}


def parts(vision_layers: int) -> dict[str, list[str]]:
    """Name of a part to the patterns of its matrices."""
    layer = "vision_model.encoder.layers.{}.*"
    return {
        "patch embedding": ["vision_model.embeddings.patch_embedding.weight"],
        "first ViT block": [layer.format(0)],
        "last ViT block": [layer.format(vision_layers - 1)],
        "ViT, all blocks": [layer.format("*")],
        "Q-Former": ["qformer.*"],
        "language_projection": ["language_projection.weight"],
        "shared": ["language_model.shared.weight"],
        "lm_head": ["language_model.lm_head.weight"],
        "encoder wo": ["language_model.encoder.*.wo.weight"],
        "decoder wo": ["language_model.decoder.*.wo.weight"],
        "T5 encoder": ["language_model.encoder.*"],
        "T5 decoder": ["language_model.decoder.*"],
    }


def convert(binary: str, source: str, rules: list[str]) -> dict[str, Tensor]:
    """The weights after a conversion to q4 with these rules."""
    with tempfile.TemporaryDirectory() as at:
        keep = [x for rule in rules for x in ("--keep", rule)]
        for command in (["convert", source, f"{at}/set", "--quant", "q4", *keep], ["export", f"{at}/set", f"{at}/plain"]):
            subprocess.run([binary, *command], check=True, stderr=subprocess.DEVNULL)
        files = sorted(Path(at, "plain").glob("*.safetensors"))
        return {name: w for file in files for name, w in load_file(file).items()}


@torch.no_grad()
def run(model, batches: list[dict], reference: list[dict] | None) -> tuple[list[dict], dict[str, float]]:
    """Log-probabilities and stage outputs of every batch, and how far they are from the reference."""
    out, kl, agree, count = [], 0.0, 0, 0
    squares = {stage: [0.0, 0.0] for stage in ("vision", "Q-Former", "encoder", "logits")}
    for i, batch in enumerate(batches):
        result = model(**batch)
        text = result.language_model_outputs
        stages = {"vision": result.vision_outputs[0], "Q-Former": result.qformer_outputs[0][:, :model.config.num_query_tokens],
                  "encoder": text.encoder_last_hidden_state, "logits": result.logits}
        if reference is None:
            out.append(stages)
            continue
        known = batch["labels"] != -100
        for stage, x in stages.items():
            exact = reference[i][stage]
            mask = {"logits": known, "encoder": batch["attention_mask"].bool()}.get(stage)
            if mask is not None:
                x, exact = x[mask], exact[mask]
            squares[stage][0] += float(((x - exact).double() ** 2).sum())
            squares[stage][1] += float((exact.double() ** 2).sum())
        p, q = (F.log_softmax(x[known].double(), -1) for x in (reference[i]["logits"], stages["logits"]))
        kl += float(F.kl_div(q, p, reduction="sum", log_target=True))
        agree += int((p.argmax(-1) == q.argmax(-1)).sum())
        count += int(known.sum())
    figures = {f"error {stage}": math.sqrt(a / b) for stage, (a, b) in squares.items() if b}
    return out, figures | ({"kl": 1000 * kl / count, "agree": 100 * agree / count} if reference else {})


def shapes(folder: str) -> dict[str, list[int]]:
    """The shapes in a checkpoint, from the headers of its files."""
    found = {}
    for file in Path(folder).glob("*.safetensors"):
        with open(file, "rb") as f:
            header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        found |= {name: x["shape"] for name, x in header.items() if name != "__metadata__" and name not in ALIASES}
    return found


def added(full: dict[str, list[int]], patterns: list[str]) -> int:
    """Bytes that q8 in place of q4 adds: half a byte a weight; rows that cannot be packed stay f16."""
    total = 0
    for name, shape in full.items():
        matrix = name.endswith(".weight") and len(shape) == 2 and not any(x in name for x in ("position_embedding", "relative_attention_bias"))
        if matrix and shape[1] % 32 == 0 and any(fnmatch.fnmatchcase(name, p) for p in patterns):
            total += math.prod(shape) // 2
    return total


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binary", help="the command line, as built")
    p.add_argument("checkpoint", help="plain checkpoint to measure on")
    p.add_argument("--full", required=True, help="checkpoint of the full size, whose shapes count")
    p.add_argument("--questions", type=int, default=300)
    p.add_argument("--batch", type=int, default=50)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--recipe", nargs="*", default=[], metavar="PATTERN=FORMAT", help="one more variant: q4 with these rules")
    p.add_argument("--only-recipe", action="store_true", help="measure f32, q4, q8 and the recipe, not the parts")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    processor = InstructBlipProcessor.from_pretrained(args.checkpoint)
    model = InstructBlipForConditionalGeneration.from_pretrained(args.checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    items = questions(SEED, False, args.questions)
    items.sort(key=lambda item: len(item[2].answer))
    batches = []
    for start in range(0, len(items), args.batch):
        part = items[start:start + args.batch]
        x = processor(images=[i[1] for i in part], text=[i[2].instruction for i in part], padding=True, return_tensors="pt")
        labels = processor.tokenizer([i[2].answer for i in part], padding=True, return_tensors="pt").input_ids
        batches.append(dict(x) | {"labels": labels.masked_fill(labels == processor.tokenizer.pad_token_id, -100)})
    reference, _ = run(model, batches, None)
    full = shapes(args.full)
    nothing = ["*=q4"]  # takes the built-in rules back
    variants = {"all q4": (nothing, 0), "all q8": (["*=q8"], added(full, ["*"]))}
    for name, patterns in ({} if args.only_recipe else parts(model.config.vision_config.num_hidden_layers)).items():
        cost = added(full, [q.replace(f"layers.{model.config.vision_config.num_hidden_layers - 1}.", "layers.38.") for q in patterns])
        variants[f"{name} alone in q4"] = (["*=f32", *(f"{q}=q4" for q in patterns)], 0)
        variants[f"q4, {name} in q8"] = ([*nothing, *(f"{q}=q8" for q in patterns)], cost)
    if args.recipe:
        patterns = [rule.split("=")[0] for rule in args.recipe]
        variants["recipe"] = ([*nothing, *args.recipe], added(full, patterns))
    print("| variant | MB added at full size | KL, millinats | same first choice | vision | Q-Former | encoder | logits |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, (rules, cost) in variants.items():
        model.load_state_dict(convert(args.binary, args.checkpoint, rules), strict=False)
        _, f = run(model, batches, reference)
        errors = " | ".join(f"{f[f'error {s}']:.4f}" for s in ("vision", "Q-Former", "encoder", "logits"))
        print(f"| {name} | {cost / 1e6:.1f} | {f['kl']:.3f} | {f['agree']:.2f} % | {errors} |", flush=True)


if __name__ == "__main__":
    main()
