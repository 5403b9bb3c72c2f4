"""Records what the reference implementation (transformers) says of one picture and prompt.

    python tools/make_golden.py MODEL OUT.safetensors --image PICTURE --prompt TEXT [--max-new-tokens 24]

MODEL is a Hugging Face folder of an InstructBLIP or BLIP-2, such as `instructblip export` writes. OUT holds the picture
(`image_rgb_u8`), `pixel_values`, the ids of both tokenizers, the last hidden state of every stage,
the logits of the first decoder step and the greedy ids: what `instructblip verify` compares.
Computed in f32 with eager attention on the CPU. Packages: tools/pocket/requirements.txt.
"""

import argparse

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput


def load(folder: str) -> InstructBlipForConditionalGeneration | Blip2ForConditionalGeneration:
    """The model in f32."""
    blip_2 = AutoConfig.from_pretrained(folder).model_type == "blip-2"
    kind = Blip2ForConditionalGeneration if blip_2 else InstructBlipForConditionalGeneration
    return kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def processor_of(folder: str, config: PretrainedConfig) -> InstructBlipProcessor | Blip2Processor:
    """The processor with PIL's resize (not torchvision's) and the tokenizers as saved.

    T5TokenizerFast would rebuild its tokenizer from a SentencePiece model, so the file is read as it is.
    """

    def tokenizer(path: str, pad: str) -> PreTrainedTokenizerFast:
        return PreTrainedTokenizerFast(tokenizer_file=path, pad_token=pad, truncation_side="left")

    pictures = BlipImageProcessor.from_pretrained(folder)
    language = tokenizer(f"{folder}/tokenizer.json", "<pad>")
    if config.model_type == "blip-2":
        return Blip2Processor(pictures, language, num_query_tokens=config.num_query_tokens)
    qformer = tokenizer(f"{folder}/qformer_tokenizer/tokenizer.json", "[PAD]")
    return InstructBlipProcessor(pictures, language, qformer, num_query_tokens=config.num_query_tokens)


def look(model, inputs, vision: torch.Tensor, **options):
    """The Q-Former's outputs for one picture; BLIP-2's does not read the instruction."""
    options |= {
        "query_embeds": model.query_tokens,
        "encoder_hidden_states": vision,
        "encoder_attention_mask": torch.ones(vision.shape[:2], dtype=torch.long),
    }
    if model.config.model_type == "blip-2":
        return model.qformer(**options)
    queries = torch.ones(1, model.config.num_query_tokens, dtype=torch.long)
    mask = torch.cat([queries, inputs.qformer_attention_mask], 1)
    return model.qformer(input_ids=inputs.qformer_input_ids, attention_mask=mask, **options)


@torch.no_grad()
def record(folder: str, picture: str, prompt: str, max_new_tokens: int) -> dict[str, torch.Tensor]:
    model = load(folder)
    language = model.language_model
    queries = model.config.num_query_tokens
    image = Image.open(picture).convert("RGB")
    inputs = processor_of(folder, model.config)(images=image, text=prompt, return_tensors="pt")

    vision = model.vision_model(pixel_values=inputs.pixel_values).last_hidden_state
    looked = look(model, inputs, vision, output_attentions=True)
    qformer = looked.last_hidden_state
    # [layers that look at the picture, queries, image tokens]
    maps = torch.cat([probabilities.mean(1) for probabilities in looked.cross_attentions])
    projected = model.language_projection(qformer[:, :queries])
    embeds = language.shared(inputs.input_ids).clone()
    embeds[:, :queries] = projected
    encoded = language.encoder(
        inputs_embeds=embeds, attention_mask=inputs.attention_mask
    ).last_hidden_state
    start = torch.tensor([[model.config.text_config.decoder_start_token_id]])
    logits = language(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
        attention_mask=inputs.attention_mask,
        decoder_input_ids=start,
    ).logits[:, 0]
    greedy = model.generate(
        **inputs, do_sample=False, num_beams=1, max_new_tokens=max_new_tokens, min_length=1
    )
    return {
        "image_rgb_u8": torch.from_numpy(np.array(image)),
        "pixel_values": inputs.pixel_values,
        "input_ids": inputs.input_ids,
        "qformer_input_ids": inputs.get("qformer_input_ids", torch.zeros(1, 0, dtype=torch.long)),
        "vision_last_hidden_state": vision,
        "qformer_last_hidden_state": qformer,
        "qformer_cross_attentions": maps,
        "language_projection": projected,
        "encoder_last_hidden_state": encoded,
        "decoder_step0_logits": logits,
        "greedy_ids": greedy,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--image", required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--max-new-tokens", type=int, default=24)
    arguments = parser.parse_args()
    tensors = record(arguments.model, arguments.image, arguments.prompt, arguments.max_new_tokens)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        arguments.out,
        metadata={"prompt": arguments.prompt},
    )
    print(arguments.out, "greedy", tensors["greedy_ids"][0].tolist())


if __name__ == "__main__":
    main()
