"""Puts the trained parts together and writes the checkpoint folder as transformers' save_pretrained does."""
from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers import BlipImageProcessor, GenerationConfig, InstructBlipProcessor

import model as pocket
from make_tokenizers import load as load_tokenizers
from scenes import IMAGE_SIZE


def assemble(run: Path):
    """The model from RUN's vision.pt, language.pt and qformer.pt."""
    t5, bert = load_tokenizers(run / "tokenizers")
    full = pocket.build(len(t5), len(bert), t5.convert_tokens_to_ids("<image>"), seed=0)
    full.vision_model.load_state_dict(torch.load(run / "vision.pt", map_location="cpu")["vision"])
    full.language_model.load_state_dict(torch.load(run / "language.pt", map_location="cpu")["t5"])
    if (run / "qformer.pt").exists():
        missing = full.load_state_dict(torch.load(run / "qformer.pt", map_location="cpu")["qformer"], strict=False)
        assert not missing.unexpected_keys
    pocket.zero_key_bias_(full.vision_model)
    return full.eval(), t5, bert


def write(run: Path, out: Path, half: bool) -> None:
    full, t5, bert = assemble(run)
    if half:
        full = full.half()
    full.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=1, pad_token_id=0, decoder_start_token_id=0)
    full.language_model.generation_config = full.generation_config
    tmp = out.with_name(out.name + ".new")
    shutil.rmtree(tmp, ignore_errors=True)
    full.save_pretrained(tmp, safe_serialization=True)
    image_processor = BlipImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, resample=3, image_mean=list(pocket.MEAN),
                                         image_std=list(pocket.STD))
    InstructBlipProcessor(image_processor, t5, bert, num_query_tokens=pocket.QUERIES).save_pretrained(tmp)
    (tmp / "added_tokens.json").write_text(json.dumps({"<image>": full.config.image_token_index}, indent=2) + "\n")
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    tmp.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    sizes = {f.name: f.stat().st_size for f in sorted(out.rglob("*")) if f.is_file()}
    print(json.dumps({"parameters": sum(p.numel() for p in full.parameters()), "files": sizes}, indent=1))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--run", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True, help="checkpoint folder, replaced if it is there")
    p.add_argument("--half", action="store_true", help="f16 instead of f32")
    args = p.parse_args()
    write(args.run, args.out, args.half)


if __name__ == "__main__":
    main()
