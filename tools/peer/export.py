"""Writes a checkpoint as ONNX graphs for onnxruntime, with what both engines are asked.

    python tools/peer/export.py SHARDS PLAIN GOLDEN.safetensors OUT

SHARDS is a 4-bit shard set, PLAIN the same weights as `instructblip export` writes them back, GOLDEN what
`tools/make_golden.py` recorded on PLAIN. OUT gets `<stage>.<format>.onnx` for the stages vision, qformer, encoder and
decoder, `pixel_values.bin` (f32) and `case.json` (ids, the greedy answer, sizes). The formats: `f32`; `q4`, MatMulNBits
with the shard set's own nibbles and scales; `q4-head-f32`, the same but for the last product, over the vocabulary.
Packages: tools/peer/requirements.txt.
"""

import argparse
import json
from pathlib import Path

from safetensors import safe_open

import models
from graph import Weights

HEAD = "language_model.lm_head.weight"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["shards", "plain", "golden", "out"]:
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    with safe_open(arguments.golden, "np") as file:
        prompt = file.metadata()["prompt"]
        golden = {name: file.get_tensor(name) for name in file.keys()}
    greedy = golden["greedy_ids"][0].tolist()
    formats = {
        "f32": Weights(arguments.plain),
        "q4": Weights(arguments.plain, arguments.shards),
        "q4-head-f32": Weights(arguments.plain, arguments.shards, unpacked=(HEAD,)),
    }
    config = formats["f32"].config
    input_ids = golden["input_ids"][0, config["num_query_tokens"] :].tolist()
    qformer_input_ids = golden["qformer_input_ids"][0].tolist()

    arguments.out.mkdir(parents=True, exist_ok=True)
    for format, weights in formats.items():
        graphs = {
            "vision": models.vision(weights),
            "qformer": models.qformer(weights, len(qformer_input_ids)),
            "encoder": models.encoder(weights, len(input_ids)),
            "decoder": models.decoder(weights, len(input_ids), len(greedy)),
        }
        for stage, graph in graphs.items():
            graph.save(arguments.out / f"{stage}.{format}.onnx")
    golden["pixel_values"].tofile(arguments.out / "pixel_values.bin")
    text = config["text_config"]
    case = {
        "prompt": prompt,
        "inputIds": input_ids,
        "qformerInputIds": qformer_input_ids,
        "greedyIds": greedy[1:],
        "startId": greedy[0],
        "formats": list(formats),
        "size": config["vision_config"]["image_size"],
        "layers": text["num_decoder_layers"],
        "heads": text["num_heads"],
        "headWidth": text["d_kv"],
    }
    (arguments.out / "case.json").write_text(json.dumps(case))


if __name__ == "__main__":
    main()
