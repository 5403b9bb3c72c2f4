"""Makes `tests/fixtures/random/` and `tests/fixtures/blip2/`: tiny random models with odd sizes, and their goldens.

    cargo build && python tools/make_fixture.py --tokenizers POCKET_CHECKPOINT

Head widths 24 and 16, rows that cannot be packed in groups of 32, three heads, five queries: what the
real model's round numbers would not show. The checkpoint is bf16. Besides the golden of the checkpoint
itself there are those of its 4-bit and 8-bit conversions, written back by `instructblip export` and run
by the reference, and one of two pictures. The BLIP-2 is smaller still. All weights are random (also biases and
norms), seed 0.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    GenerationConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    PreTrainedModel,
    T5Config,
)

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
CONVERTER = ROOT / "target" / "debug" / "instructblip"
PROMPT = "What color is the big circle?"
TOKENIZER_FILES = ["tokenizer.json", "qformer_tokenizer/tokenizer.json"]


def vocabulary(path: Path) -> int:
    return Tokenizer.from_file(str(path)).get_vocab_size()


def language_config(tokenizers: Path, **sizes: int) -> dict:
    text = T5Config(
        vocab_size=vocabulary(tokenizers / TOKENIZER_FILES[0]), **sizes,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        decoder_start_token_id=0, bos_token_id=1, eos_token_id=1, pad_token_id=0,
    ).to_dict()
    # The published checkpoint says "gelu", the exact one, against T5's default.
    return text | {"dense_act_fn": "gelu", "tie_word_embeddings": False}


def placeholder(tokenizers: Path) -> int:
    """The token that the processor puts before the text, once for each query."""
    return Tokenizer.from_file(str(tokenizers / TOKENIZER_FILES[0])).token_to_id("<image>")


def instructblip(tokenizers: Path) -> PreTrainedModel:
    vision = InstructBlipVisionConfig(
        hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=2, image_size=42, patch_size=14
    )
    qformer = InstructBlipQFormerConfig(
        vocab_size=vocabulary(tokenizers / TOKENIZER_FILES[1]), hidden_size=64, intermediate_size=96,
        num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=40,
    )
    text = language_config(tokenizers, d_model=64, d_kv=16, num_heads=3, d_ff=96, num_layers=2, num_decoder_layers=2)
    config = InstructBlipConfig(
        vision_config=vision.to_dict(), qformer_config=qformer.to_dict(), text_config=text,
        num_query_tokens=5, image_token_index=placeholder(tokenizers),
    )
    return random_weights(InstructBlipForConditionalGeneration(config))


def blip_2(tokenizers: Path) -> PreTrainedModel:
    vision = Blip2VisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    qformer = Blip2QFormerConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2, encoder_hidden_size=32
    )
    text = language_config(tokenizers, d_model=32, d_kv=16, num_heads=3, d_ff=48, num_layers=1, num_decoder_layers=1)
    config = Blip2Config(
        vision_config=vision.to_dict(), qformer_config=qformer.to_dict(), text_config=text,
        num_query_tokens=3, image_token_index=placeholder(tokenizers),
    )
    return random_weights(Blip2ForConditionalGeneration(config))


def random_weights(model: PreTrainedModel) -> PreTrainedModel:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.copy_(1 + 0.1 * noise)
            elif parameter.dim() == 1:
                parameter.copy_(0.05 * noise)
            elif name.endswith(("shared.weight", "lm_head.weight", "embeddings.weight")) or parameter.dim() == 3:
                parameter.copy_(0.7 * noise)
            else:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
        width = model.config.vision_config.hidden_size
        for layer in model.vision_model.encoder.layers:  # the key bias is zero in the real model
            layer.self_attn.qkv.bias[width : 2 * width] = 0
    return model.eval().to(torch.bfloat16)


def save(model: PreTrainedModel, folder: Path, tokenizers: Path, files: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=1, pad_token_id=0, decoder_start_token_id=0)
    model.save_pretrained(folder)
    size = model.config.vision_config.image_size
    BlipImageProcessor(size={"height": size, "width": size}).save_pretrained(folder)
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(tokenizers / name, folder / name)


def golden(folder: Path, out: Path, *pictures: Path) -> None:
    script = Path(__file__).parent / "make_golden.py"
    images = [argument for picture in pictures for argument in ("--image", picture)]
    subprocess.run(
        [sys.executable, script, folder, out, *images, "--prompt", PROMPT, "--max-new-tokens", "12"], check=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizers", required=True, type=Path, help="folder with both tokenizers, such as the pocket checkpoint")
    arguments = parser.parse_args()

    random, small = FIXTURES / "random", FIXTURES / "blip2"
    save(instructblip(arguments.tokenizers), random / "model", arguments.tokenizers, TOKENIZER_FILES)
    save(blip_2(arguments.tokenizers), small / "model", arguments.tokenizers, TOKENIZER_FILES[:1])

    pixels = np.random.default_rng(0).integers(0, 256, (8, 11, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((61, 37), Image.BICUBIC)
    with tempfile.TemporaryDirectory() as temporary:
        first, second = Path(temporary) / "first.png", Path(temporary) / "second.png"
        picture.save(first)
        picture.transpose(Image.FLIP_LEFT_RIGHT).save(second)
        golden(random / "model", random / "checkpoint.safetensors", first)
        golden(random / "model", random / "two_pictures.safetensors", first, second)
        golden(small / "model", small / "checkpoint.safetensors", first)
        for quant in ["q8", "q4"]:
            shards, export = Path(temporary) / quant, Path(temporary) / f"{quant}-export"
            subprocess.run([CONVERTER, "convert", random / "model", shards, "--quant", quant, "--keep", f"*={quant}"], check=True)
            subprocess.run([CONVERTER, "export", shards, export], check=True)
            golden(export, random / f"{quant}.safetensors", first)


if __name__ == "__main__":
    main()
