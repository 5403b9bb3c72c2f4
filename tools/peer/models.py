"""InstructBLIP with FlanT5 as four ONNX graphs, node by node as the reference computes it.

Every shape but the number of tokens decoded so far is fixed, which spares the peer's runtime all arithmetic on shapes.
"""

import math

import numpy as np

from graph import Graph, Weights


def heads_of(graph: Graph, x: str, heads: int, length: int, width: int, transposed: bool = False) -> str:
    """[1, length, heads * width] -> [1, heads, length, width], or [1, heads, width, length]."""
    shape = [1, heads, width, 1] if transposed else [1, heads, 1, width]
    if length == 1:
        return graph.op("Reshape", x, graph.ints(*shape))
    x = graph.op("Reshape", x, graph.ints(1, length, heads, width))
    return graph.op("Transpose", x, perm=[0, 2, 3, 1] if transposed else [0, 2, 1, 3])


def attend(graph: Graph, query: str, key: str, value: str, length: int, scale: float, bias: str | None = None) -> str:
    """Attention of queries and values [1, heads, .., width] and keys [1, heads, width, ..] -> [1, length, hidden]."""
    if scale != 1.0:
        query = graph.op("Mul", query, graph.constant(np.array(scale, np.float32), "scale"))
    scores = graph.op("MatMul", query, key)
    if bias:
        scores = graph.op("Add", scores, bias)
    found = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
    if length > 1:
        found = graph.op("Transpose", found, perm=[0, 2, 1, 3])
    return graph.op("Reshape", found, graph.ints(1, length, -1))


def vision(weights: Weights) -> Graph:
    """pixel_values [1, 3, size, size] -> image_embeds [1, patches + 1, hidden]."""
    config = weights.config["vision_config"]
    hidden, heads, patch = config["hidden_size"], config["num_attention_heads"], config["patch_size"]
    epsilon, side = config["layer_norm_eps"], config["image_size"] // config["patch_size"]
    width, tokens = hidden // heads, side * side + 1
    graph = Graph(weights)
    pixels = graph.input("pixel_values", "f32", [1, 3, config["image_size"], config["image_size"]])
    name = "vision_model.embeddings."
    kernel, bias = (graph.weight(f"{name}patch_embedding.{part}") for part in ["weight", "bias"])
    patches = graph.op("Conv", pixels, kernel, bias, kernel_shape=[patch, patch], strides=[patch, patch])
    patches = graph.op("Reshape", patches, graph.ints(1, hidden, side * side))
    patches = graph.op("Transpose", patches, perm=[0, 2, 1])
    x = graph.op("Concat", graph.weight(f"{name}class_embedding"), patches, axis=1)
    x = graph.op("Add", x, graph.weight(f"{name}position_embedding"))
    for layer in range(config["num_hidden_layers"]):
        name = f"vision_model.encoder.layers.{layer}."
        y = graph.layer_norm(x, f"{name}layer_norm1", epsilon)
        qkv = graph.linear(y, f"{name}self_attn.qkv")
        q, k, v = graph.op("Split", qkv, outputs=3, axis=-1, num_outputs=3)
        q, k, v = (heads_of(graph, part, heads, tokens, width, part == k) for part in [q, k, v])
        y = attend(graph, q, k, v, tokens, width**-0.5)
        x = graph.op("Add", x, graph.linear(y, f"{name}self_attn.projection"))
        y = graph.layer_norm(x, f"{name}layer_norm2", epsilon)
        y = graph.gelu(graph.linear(y, f"{name}mlp.fc1"))
        x = graph.op("Add", x, graph.linear(y, f"{name}mlp.fc2"))
    x = graph.layer_norm(x, "vision_model.post_layernorm", epsilon)
    graph.output("image_embeds", x, "f32", [1, tokens, hidden])
    return graph


def qformer(weights: Weights, text: int) -> Graph:
    """image_embeds and qformer_input_ids [1, text] -> query_embeds [1, queries, d_model]."""
    config, vision_config = weights.config["qformer_config"], weights.config["vision_config"]
    heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]
    width = config["hidden_size"] // heads
    queries, layers = weights.config["num_query_tokens"], config["num_hidden_layers"]
    tokens = (vision_config["image_size"] // vision_config["patch_size"]) ** 2 + 1
    graph = Graph(weights)
    image = graph.input("image_embeds", "f32", [1, tokens, vision_config["hidden_size"]])
    ids = graph.input("qformer_input_ids", "i64", [1, text])

    def attention(x: str, length: int, to: str, keys: int, name: str) -> str:
        q = heads_of(graph, graph.linear(x, f"{name}.attention.query"), heads, length, width)
        k = heads_of(graph, graph.linear(to, f"{name}.attention.key"), heads, keys, width, transposed=True)
        v = heads_of(graph, graph.linear(to, f"{name}.attention.value"), heads, keys, width)
        y = graph.linear(attend(graph, q, k, v, length, width**-0.5), f"{name}.output.dense")
        return graph.layer_norm(graph.op("Add", x, y), f"{name}.output.LayerNorm", epsilon)

    def feed_forward(x: str, name: str, branch: str) -> str:
        y = graph.gelu(graph.linear(x, f"{name}.intermediate{branch}.dense"))
        y = graph.linear(y, f"{name}.output{branch}.dense")
        return graph.layer_norm(graph.op("Add", x, y), f"{name}.output{branch}.LayerNorm", epsilon)

    name = "qformer.embeddings."
    words = graph.op("Gather", graph.weight(f"{name}word_embeddings.weight"), ids)
    positions = weights[f"{name}position_embeddings.weight"][None, :text]
    words = graph.op("Add", words, graph.constant(positions, "positions"))
    x = graph.op("Concat", graph.weight("query_tokens"), words, axis=1)
    x = graph.layer_norm(x, f"{name}layernorm", epsilon)
    for layer in range(layers):
        name = f"qformer.encoder.layer.{layer}"
        x = attention(x, queries + text, x, queries + text, f"{name}.attention")
        q, t = graph.op("Split", x, graph.ints(queries, text), outputs=2, axis=1)
        if layer % config["cross_attention_frequency"] == 0:
            q = attention(q, queries, image, tokens, f"{name}.crossattention")
        q = feed_forward(q, name, "_query")
        if layer + 1 == layers:  # nothing reads the text of the last layer
            x = q
        else:
            x = graph.op("Concat", q, feed_forward(t, name, ""), axis=1)
    d_model = weights.config["text_config"]["d_model"]
    graph.output("query_embeds", graph.linear(x, "language_projection"), "f32", [1, queries, d_model])
    return graph


def feed_forward(graph: Graph, x: str, name: str, epsilon: float) -> str:
    """T5's gated feed-forward layer with its norm and residual."""
    y = graph.rms_norm(x, f"{name}.layer_norm", epsilon)
    gate = graph.gelu(graph.linear(y, f"{name}.DenseReluDense.wi_0"))
    y = graph.op("Mul", gate, graph.linear(y, f"{name}.DenseReluDense.wi_1"))
    return graph.op("Add", x, graph.linear(y, f"{name}.DenseReluDense.wo"))


def encoder(weights: Weights, text: int) -> Graph:
    """query_embeds and input_ids [1, text] -> of every decoder layer cross_key and cross_value.

    Keys lie as [1, heads, d_kv, prompt], so that a decoder step need not transpose them; values as
    [1, heads, prompt, d_kv].
    """
    config = weights.config["text_config"]
    heads, width, epsilon = config["num_heads"], config["d_kv"], config["layer_norm_epsilon"]
    queries = weights.config["num_query_tokens"]
    prompt = queries + text
    graph = Graph(weights)
    embeds = graph.input("query_embeds", "f32", [1, queries, config["d_model"]])
    ids = graph.input("input_ids", "i64", [1, text])
    words = graph.op("Gather", graph.weight("language_model.shared.weight"), ids)
    x = graph.op("Concat", embeds, words, axis=1)
    at = np.arange(prompt)
    bias = graph.constant(relative_bias(weights, "encoder", at[None] - at[:, None]), "relative_bias")
    for layer in range(config["num_layers"]):
        name = f"language_model.encoder.block.{layer}.layer."
        y = graph.rms_norm(x, f"{name}0.layer_norm", epsilon)
        q, k, v = (
            heads_of(graph, graph.linear(y, f"{name}0.SelfAttention.{part}"), heads, prompt, width, part == "k")
            for part in "qkv"
        )
        y = attend(graph, q, k, v, prompt, 1.0, bias)
        x = graph.op("Add", x, graph.linear(y, f"{name}0.SelfAttention.o"))
        x = feed_forward(graph, x, f"{name}1", epsilon)
    x = graph.rms_norm(x, "language_model.encoder.final_layer_norm", epsilon)
    for layer in range(config["num_decoder_layers"]):
        name = f"language_model.decoder.block.{layer}.layer.1.EncDecAttention."
        key = heads_of(graph, graph.linear(x, f"{name}k"), heads, prompt, width, transposed=True)
        value = heads_of(graph, graph.linear(x, f"{name}v"), heads, prompt, width)
        graph.output(f"cross_key.{layer}", key, "f32", [1, heads, width, prompt])
        graph.output(f"cross_value.{layer}", value, "f32", [1, heads, prompt, width])
    return graph


def decoder(weights: Weights, text: int, limit: int) -> Graph:
    """One step: a token, the keys and values so far and the cross ones -> logits [1, 1, vocabulary], keys and values.

    `bias_start` is `limit` - 1 - the number of tokens before this one.
    """
    config = weights.config["text_config"]
    heads, width, epsilon = config["num_heads"], config["d_kv"], config["layer_norm_epsilon"]
    prompt = weights.config["num_query_tokens"] + text
    graph = Graph(weights)
    ids = graph.input("input_ids", "i64", [1, 1])
    start = graph.input("bias_start", "i64", [1])
    table = relative_bias(weights, "decoder", np.arange(1 - limit, 1)[None])  # [1, heads, 1, limit]
    table = graph.constant(table, "relative_bias")
    bias = graph.op("Slice", table, start, graph.ints(limit), graph.ints(3))
    x = graph.op("Gather", graph.weight("language_model.shared.weight"), ids)
    for layer in range(config["num_decoder_layers"]):
        past_key = graph.input(f"past_key.{layer}", "f32", [1, heads, width, "past"])
        past_value = graph.input(f"past_value.{layer}", "f32", [1, heads, "past", width])
        cross_key = graph.input(f"cross_key.{layer}", "f32", [1, heads, width, prompt])
        cross_value = graph.input(f"cross_value.{layer}", "f32", [1, heads, prompt, width])
        name = f"language_model.decoder.block.{layer}.layer."
        y = graph.rms_norm(x, f"{name}0.layer_norm", epsilon)
        q, k, v = (
            heads_of(graph, graph.linear(y, f"{name}0.SelfAttention.{part}"), heads, 1, width, part == "k")
            for part in "qkv"
        )
        k = graph.op("Concat", past_key, k, axis=3)
        v = graph.op("Concat", past_value, v, axis=2)
        graph.output(f"present_key.{layer}", k, "f32", [1, heads, width, "present"])
        graph.output(f"present_value.{layer}", v, "f32", [1, heads, "present", width])
        y = attend(graph, q, k, v, 1, 1.0, bias)
        x = graph.op("Add", x, graph.linear(y, f"{name}0.SelfAttention.o"))
        y = graph.rms_norm(x, f"{name}1.layer_norm", epsilon)
        q = heads_of(graph, graph.linear(y, f"{name}1.EncDecAttention.q"), heads, 1, width)
        y = attend(graph, q, cross_key, cross_value, 1, 1.0)
        x = graph.op("Add", x, graph.linear(y, f"{name}1.EncDecAttention.o"))
        x = feed_forward(graph, x, f"{name}2", epsilon)
    x = graph.rms_norm(x, "language_model.decoder.final_layer_norm", epsilon)
    graph.output("logits", graph.linear(x, "language_model.lm_head"), "f32", [1, 1, config["vocab_size"]])
    return graph


def relative_bias(weights: Weights, stack: str, distances: np.ndarray) -> np.ndarray:
    """T5's bias [1, heads, queries, keys] for distances key - query [queries, keys]."""
    config = weights.config["text_config"]
    count, far = config["relative_attention_num_buckets"], config["relative_attention_max_distance"]
    bidirectional = stack == "encoder"
    table = weights[f"language_model.{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]

    def bucket(distance: int) -> int:
        first, buckets = 0, count
        if bidirectional:
            buckets //= 2
            first = buckets if distance > 0 else 0
        distance = abs(distance) if bidirectional else max(-distance, 0)
        exact = buckets // 2
        if distance < exact:
            return first + distance
        steps = math.log(distance / exact) / math.log(far / exact) * (buckets - exact)
        return first + min(exact + int(steps), buckets - 1)

    return table[np.vectorize(bucket)(distances)].transpose(2, 0, 1)[None].astype(np.float32)
