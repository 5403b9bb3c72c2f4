"""What the Q-Former finds when it reads no instruction, in NumPy and 64 bits.

The golden of the same model, recorded from transformers, first shows that this Q-Former is the
reference's: with the instruction it must give `language_projection`. Then the text rows are left
out, as `InstructBlipQFormerModel` does where `input_ids` is None and LAVIS where
`qformer_text_input` is False: the queries look at the picture alone.

    python tools/make_without_instruction.py tests/fixtures/random/model \
        tests/fixtures/random/checkpoint.safetensors tests/fixtures/random/without_instruction.safetensors
"""
import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def weights(folder: Path) -> dict[str, np.ndarray]:
    """All tensors as f64; NumPy has no bf16, so its bits become the upper half of an f32."""
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        bits = data[slice(*entry["data_offsets"])]
        match entry["dtype"]:
            case "BF16":
                values = (np.frombuffer(bits, "<u2").astype(np.uint32) << 16).view(np.float32)
            case "F32":
                values = np.frombuffer(bits, "<f4")
            case other:
                sys.exit(f"{name} is {other}")
        out[name] = values.reshape(entry["shape"]).astype(np.float64)
    return out


def look(w: dict[str, np.ndarray], config: dict, ids: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """`language_projection` `[queries, width]` for word-piece ids, of which there may be none."""
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    erf = np.vectorize(math.erf)

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w[name + ".weight"] + w[name + ".bias"]

    def attend(x, keys, at):
        split = lambda t: t.reshape(len(t), heads, -1).swapaxes(0, 1)
        q = split(linear(x, at + ".attention.query"))
        k = split(linear(keys, at + ".attention.key"))
        v = split(linear(keys, at + ".attention.value"))
        scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = scores / scores.sum(-1, keepdims=True) @ v
        mixed = mixed.swapaxes(0, 1).reshape(len(x), -1)
        return norm(linear(mixed, at + ".output.dense") + x, at + ".output.LayerNorm")

    def feed_forward(x, at, kind):
        inner = linear(x, f"{at}.intermediate{kind}.dense")
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2 if inner.size else inner
        return norm(linear(inner, f"{at}.output{kind}.dense") + x, f"{at}.output{kind}.LayerNorm")

    queries = w["query_tokens"][0]
    at = "qformer.embeddings."
    text = w[at + "word_embeddings.weight"][ids] + w[at + "position_embeddings.weight"][: len(ids)]
    x = norm(np.concatenate([queries, text]), at + "layernorm")
    for layer in range(config["num_hidden_layers"]):
        at = f"qformer.encoder.layer.{layer}"
        x = attend(x, x, at + ".attention")
        found, text = x[: len(queries)], x[len(queries) :]
        if layer % config["cross_attention_frequency"] == 0:
            found = attend(found, picture, at + ".crossattention")
        x = np.concatenate([feed_forward(found, at, "_query"), feed_forward(text, at, "")])
    return linear(x[: len(queries)], "language_projection")


def main() -> None:
    folder, golden_file, out = map(Path, sys.argv[1:])
    config = json.loads((folder / "config.json").read_text())["qformer_config"]
    w, golden = weights(folder), load_file(golden_file)
    picture = golden["vision_last_hidden_state"][0].astype(np.float64)
    found = look(w, config, golden["qformer_input_ids"][0], picture)
    expected = golden["language_projection"][0]
    error = np.abs(found - expected).max() / np.abs(expected).max()
    if error > 1e-5:
        sys.exit(f"this Q-Former is not the reference's: relative error {error:.1e}")
    alone = look(w, config, np.zeros(0, dtype=np.int64), picture)
    save_file({"language_projection": alone[None].astype(np.float32)}, out)
    print(f"with the instruction, relative error {error:.1e}; without it {np.abs(alone - found).max():.2f} away")


if __name__ == "__main__":
    main()
