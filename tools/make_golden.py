"""Records what the reference implementation (transformers) says of pictures and a prompt.

    python tools/make_golden.py MODEL OUT.safetensors --image PICTURE... --prompt TEXT [--max-new-tokens 24]

MODEL is a Hugging Face folder of an InstructBLIP or BLIP-2, such as `instructblip export` writes. OUT holds the picture
(`image_rgb_u8`), `pixel_values`, the ids of both tokenizers, the last hidden state of every stage,
the logits of the first decoder step, the ids of greedy decoding and of beam search, the likelihoods of
given answers, and the probabilities that a first token is drawn from: see tests/README.md.
Computed in f32 with eager attention on the CPU. Packages: tools/pocket/requirements.txt.
"""

import argparse
import json

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
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.modeling_outputs import BaseModelOutput

# Answers to rank: one token and many, alike and unlike, a mark, a number, a letter beyond ASCII.
CANDIDATES = [
    "yes", "no", "red", "blue", "green", "yellow", "a red circle", "a blue circle", "a small red circle",
    "a small red circle to the left of a big blue square", "two", "three circles", "Paris", "7", "42 apples",
    "It is unusual that a man irons clothes on the back of a car.", "it", "the picture shows nothing",
    "no, it isn't!", "café",
]
# Ways of drawing the first token; the hot ones leave many tokens also where a random model is sure.
WARPS = [
    {"temperature": 0.7, "top_k": 50, "top_p": 0.9},
    {"temperature": 8.0, "top_k": 50, "top_p": 0.9},
    {"temperature": 8.0, "top_k": 0, "top_p": 0.8},
    {"temperature": 8.0, "top_k": 20, "top_p": 1.0},
    {"temperature": 5.0, "top_k": 0, "top_p": 1.0},
]


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


def look(model, inputs, vision: torch.Tensor):
    """The Q-Former's outputs for one picture; BLIP-2's does not read the instruction."""
    options = {
        "output_attentions": True,
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
def record(folder: str, pictures: list[str], prompt: str, max_new_tokens: int) -> dict[str, torch.Tensor]:
    model = load(folder)
    language = model.language_model
    queries = model.config.num_query_tokens
    images = [Image.open(picture).convert("RGB") for picture in pictures]
    processor = processor_of(folder, model.config)
    inputs = processor(images=images, text=prompt, return_tensors="pt")
    # The processor puts placeholders for one picture before the text; the others' go before them.
    more = queries * (len(images) - 1)
    input_ids = torch.cat([inputs.input_ids[:, :1].expand(1, more), inputs.input_ids], 1)
    attention_mask = torch.ones_like(input_ids)

    vision = model.vision_model(pixel_values=inputs.pixel_values).last_hidden_state
    looked = [look(model, inputs, one) for one in vision.split(1)]
    qformer = torch.cat([one.last_hidden_state[:, :queries] for one in looked])
    # [pictures and layers that look at them, queries, image tokens]
    maps = torch.cat([probabilities.mean(1) for one in looked for probabilities in one.cross_attentions])
    projected = model.language_projection(qformer).flatten(0, 1)[None]
    embeds = torch.cat([projected, language.shared(input_ids[:, projected.shape[1] :])], 1)
    encoded = language.encoder(
        inputs_embeds=embeds, attention_mask=attention_mask
    ).last_hidden_state
    start = torch.tensor([[model.config.text_config.decoder_start_token_id]])
    logits = language(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
        attention_mask=attention_mask,
        decoder_input_ids=start,
    ).logits[:, 0]
    return {
        "image_rgb_u8": torch.from_numpy(np.stack(images) if more else np.array(images[0])),
        "pixel_values": inputs.pixel_values,
        "input_ids": input_ids,
        "qformer_input_ids": inputs.get("qformer_input_ids", torch.zeros(1, 0, dtype=torch.long)),
        "vision_last_hidden_state": vision,
        "qformer_last_hidden_state": qformer,
        "qformer_cross_attentions": maps,
        "language_projection": projected,
        "encoder_last_hidden_state": encoded,
        "decoder_step0_logits": logits,
        **generated(language, embeds, max_new_tokens),
        "rank_log_likelihoods": likelihoods(language, processor.tokenizer, encoded, attention_mask),
        "sample_probabilities": torch.cat([probabilities(logits, **warp) for warp in WARPS]),
    }


def generated(language, embeds: torch.Tensor, max_new_tokens: int) -> dict[str, torch.Tensor]:
    """Ids (start token first) and scores of several ways of decoding."""

    def generate(**options):
        options = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens, "min_length": 1} | options
        return language.generate(inputs_embeds=embeds, **options, return_dict_in_generate=True, output_scores=True)

    beams = generate(num_beams=5, repetition_penalty=1.5, num_return_sequences=5)
    short = generate(num_beams=5, length_penalty=-1.0, max_new_tokens=10)
    return {
        "greedy_ids": generate().sequences,
        "greedy_rp15_ids": generate(repetition_penalty=1.5).sequences,
        "greedy_ngram2_ids": generate(no_repeat_ngram_size=2, min_length=8).sequences,
        "beam5_ids": beams.sequences[:1].clone(),
        "beam5_all_ids": beams.sequences,
        "beam5_scores": beams.sequences_scores,
        "beam5_lpneg1_ids": short.sequences,
        "beam5_lpneg1_scores": short.sequences_scores,
    }


def likelihoods(language, tokenizer, encoded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum of the log-probabilities of every candidate's tokens, `</s>` included."""
    sums = []
    for candidate in CANDIDATES:
        labels = tokenizer(candidate, return_tensors="pt").input_ids
        logits = language(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded), attention_mask=mask, labels=labels
        ).logits
        sums.append(logits.log_softmax(-1).gather(2, labels[..., None]).sum())
    return torch.stack(sums)


def probabilities(logits: torch.Tensor, temperature: float, top_k: int, top_p: float) -> torch.Tensor:
    """What `_sample` draws from."""
    logits = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k > 0:
        logits = TopKLogitsWarper(top_k)(None, logits)
    if top_p < 1:
        logits = TopPLogitsWarper(top_p)(None, logits)
    return logits.softmax(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--image", required=True, action="append", help="several for several pictures of one size")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--max-new-tokens", type=int, default=24)
    arguments = parser.parse_args()
    tensors = record(arguments.model, arguments.image, arguments.prompt, arguments.max_new_tokens)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        arguments.out,
        metadata={
            "prompt": arguments.prompt,
            "max_new_tokens": str(arguments.max_new_tokens),
            "rank_candidates": json.dumps(CANDIDATES),
            "sample_warps": json.dumps(WARPS),
        },
    )
    for name in ["greedy_ids", "beam5_ids"]:
        print(arguments.out, name, tensors[name][0].tolist())


if __name__ == "__main__":
    main()
