"""The names and shapes of a published checkpoint's parameters, from transformers alone.

    python tools/make_shapes.py [tests/fixtures/flan_t5_xl_shapes.json]

Builds InstructBLIP-FlanT5-XL on the meta device, where tensors have shapes and no values, and
writes its 1,363 parameters with the layers folded: `{0..38}` stands for every number from 0 to
38, and numbers in a list, `{0,2,4}`, for these. tests/layout.rs reads it. transformers 4.57.
"""

import json
import re
import sys

OUT = "tests/fixtures/flan_t5_xl_shapes.json"


def published():
    """Name to shape, in the model's order."""
    import torch
    from transformers import (InstructBlipConfig, InstructBlipForConditionalGeneration, InstructBlipQFormerConfig,
                              InstructBlipVisionConfig, T5Config)

    text = T5Config(vocab_size=32128, d_model=2048, d_kv=64, num_heads=32, d_ff=5120, num_layers=24, num_decoder_layers=24,
                    feed_forward_proj="gated-gelu", tie_word_embeddings=False).to_dict()
    config = InstructBlipConfig(vision_config=InstructBlipVisionConfig().to_dict(),
                                qformer_config=InstructBlipQFormerConfig(vocab_size=30523).to_dict(),
                                text_config=text, num_query_tokens=32, image_token_index=32100)
    with torch.device("meta"):
        model = InstructBlipForConditionalGeneration(config)
    return {name: list(value.shape) for name, value in model.named_parameters()}


def fold(shapes):
    """Names that differ in the number of a layer alone become one."""
    folded = {}
    for name, shape in shapes.items():
        match = re.search(r"\.(?:layers|layer|block)\.(\d+)\.", name)
        key = name if match is None else name[:match.start(1)] + "{}" + name[match.end(1):]
        folded.setdefault((key, tuple(shape)), []).append(None if match is None else int(match[1]))
    return {key.replace("{}", "{" + span(numbers) + "}") if numbers[0] is not None else key: list(shape)
            for (key, shape), numbers in folded.items()}


def span(numbers):
    """`0..38`, or the numbers where some are left out."""
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}..{numbers[-1]}"
    return ",".join(map(str, numbers))


def main():
    lines = [f"  {json.dumps(name)}: {json.dumps(shape)}" for name, shape in fold(published()).items()]
    with open(sys.argv[1] if len(sys.argv) > 1 else OUT, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
