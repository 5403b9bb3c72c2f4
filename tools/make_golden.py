"""Records what the reference implementation (transformers) says of one picture and prompt.

    python tools/make_golden.py MODEL OUT.safetensors --image PICTURE --prompt TEXT [--max-new-tokens 24]

MODEL is a Hugging Face folder, such as `instructblip export` writes. OUT holds the picture
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
    BlipImageProcessor,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput


def processor_of(folder: str, num_query_tokens: int) -> InstructBlipProcessor:
    """The processor with PIL's resize (not torchvision's) and the tokenizers as saved.

    T5TokenizerFast would rebuild its tokenizer from a SentencePiece model, so the file is read as it is.
    """

    def tokenizer(path: str, pad: str) -> PreTrainedTokenizerFast:
        return PreTrainedTokenizerFast(tokenizer_file=path, pad_token=pad, truncation_side="left")

    return InstructBlipProcessor(
        BlipImageProcessor.from_pretrained(folder),
        tokenizer(f"{folder}/tokenizer.json", "<pad>"),
        tokenizer(f"{folder}/qformer_tokenizer/tokenizer.json", "[PAD]"),
        num_query_tokens=num_query_tokens,
    )


@torch.no_grad()
def record(folder: str, picture: str, prompt: str, max_new_tokens: int) -> dict[str, torch.Tensor]:
    model = InstructBlipForConditionalGeneration.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    language = model.language_model
    queries = model.config.num_query_tokens
    image = Image.open(picture).convert("RGB")
    inputs = processor_of(folder, queries)(images=image, text=prompt, return_tensors="pt")

    vision = model.vision_model(pixel_values=inputs.pixel_values).last_hidden_state
    mask = torch.cat([torch.ones(1, queries, dtype=torch.long), inputs.qformer_attention_mask], 1)
    qformer = model.qformer(
        input_ids=inputs.qformer_input_ids,
        attention_mask=mask,
        query_embeds=model.query_tokens,
        encoder_hidden_states=vision,
        encoder_attention_mask=torch.ones(vision.shape[:2], dtype=torch.long),
    ).last_hidden_state
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
        "qformer_input_ids": inputs.qformer_input_ids,
        "vision_last_hidden_state": vision,
        "qformer_last_hidden_state": qformer,
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
