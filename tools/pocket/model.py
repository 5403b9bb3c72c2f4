"""The pocket model: its sizes, as a transformers configuration, and an initialisation a small model can learn from.

Every width is a multiple of 32, so that all weights pack into groups of 32.  transformers' own initialisation leaves the
query tokens at zero and the rest at a deviation that suits widths of a thousand; at 128 it sits on a plateau.  Here every
linear layer starts at fan-in scale.
"""
from __future__ import annotations

import math

import torch
from torch import nn
from transformers import (InstructBlipConfig, InstructBlipForConditionalGeneration, InstructBlipQFormerConfig,
                          InstructBlipVisionConfig, T5Config)

from scenes import GRID, IMAGE_SIZE

WIDTH = 128
PATCH = 16
CELLS = GRID * GRID
QUERIES = 12               # one for each cell, and three free ones
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def vision_config() -> InstructBlipVisionConfig:
    return InstructBlipVisionConfig(hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=4, num_attention_heads=4,
                                    image_size=IMAGE_SIZE, patch_size=PATCH, layer_norm_eps=1e-6, qkv_bias=True, hidden_act="gelu")


def text_config(vocab: int) -> T5Config:
    return T5Config(vocab_size=vocab, d_model=WIDTH, d_kv=32, num_heads=6, d_ff=256, num_layers=4, num_decoder_layers=2,
                    feed_forward_proj="gated-gelu", dense_act_fn="gelu", tie_word_embeddings=False, dropout_rate=0.0,
                    decoder_start_token_id=0, bos_token_id=1, eos_token_id=1, pad_token_id=0)


def config(t5_vocab: int, bert_vocab: int, image_token: int) -> InstructBlipConfig:
    text = text_config(t5_vocab).to_dict()
    text["dense_act_fn"] = "gelu"                 # feed_forward_proj would otherwise choose the tanh approximation
    return InstructBlipConfig(
        vision_config=vision_config().to_dict(),
        qformer_config=InstructBlipQFormerConfig(
            vocab_size=bert_vocab, hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=4, intermediate_size=2 * WIDTH,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=128, layer_norm_eps=1e-12,
            cross_attention_frequency=2, encoder_hidden_size=WIDTH).to_dict(),
        text_config=text, num_query_tokens=QUERIES, image_token_index=image_token)


def build(t5_vocab: int, bert_vocab: int, image_token: int, seed: int) -> InstructBlipForConditionalGeneration:
    torch.manual_seed(seed)
    model = InstructBlipForConditionalGeneration._from_config(config(t5_vocab, bert_vocab, image_token), attn_implementation="eager")
    assert model.config.text_config.dense_act_fn == "gelu"
    init_vision(model.vision_model)
    init_language(model.language_model)
    init_qformer(model)
    return model


def _fan_in(module: nn.Module) -> None:
    for m in module.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=m.in_features ** -0.5)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


@torch.no_grad()
def init_vision(vision: nn.Module) -> None:
    _fan_in(vision)
    e = vision.embeddings
    nn.init.normal_(e.patch_embedding.weight, std=(3 * PATCH * PATCH) ** -0.5)
    nn.init.normal_(e.class_embedding, std=0.3)
    side = IMAGE_SIZE // PATCH
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    f = torch.arange(1, WIDTH // 4 + 1) * 0.5 * math.pi / (WIDTH // 16) * 2
    y, x = y.reshape(-1, 1) * f, x.reshape(-1, 1) * f
    e.position_embedding.zero_()
    e.position_embedding[0, 1:] = 0.5 * torch.cat([y.sin(), y.cos(), x.sin(), x.cos()], 1)


@torch.no_grad()
def init_language(t5: nn.Module) -> None:
    """T5's own initialisation suits; but the head must be scaled, and half of the encoder's heads start as "look at what
    resembles me" (query = key), from which finding the object that a question names is a short way."""
    d, inner = t5.config.d_model, t5.config.num_heads * t5.config.d_kv
    nn.init.normal_(t5.shared.weight, std=1.0)
    t5.lm_head.weight.copy_(t5.shared.weight * d ** -0.5)
    half = inner // 2
    for block in t5.encoder.block:
        a = block.layer[0].SelfAttention
        a.q.weight[:half] = a.k.weight[:half] * t5.config.d_kv ** -0.5


@torch.no_grad()
def init_qformer(model: InstructBlipForConditionalGeneration) -> None:
    _fan_in(model.qformer)
    nn.init.normal_(model.qformer.embeddings.word_embeddings.weight, std=0.5)
    nn.init.normal_(model.qformer.embeddings.position_embeddings.weight, std=0.2)
    nn.init.normal_(model.query_tokens, std=1.0)
    nn.init.normal_(model.language_projection.weight, std=WIDTH ** -0.5)
    nn.init.zeros_(model.language_projection.bias)


@torch.no_grad()
def zero_key_bias_(vision: nn.Module) -> None:
    """The key part of the packed qkv bias changes nothing (softmax does not see it); the published checkpoints hold zeros."""
    d = vision.config.hidden_size
    for layer in vision.encoder.layers:
        layer.self_attn.qkv.bias[d:2 * d] = 0


def pixels_to_tensor(pictures) -> torch.Tensor:
    """u8 [batch, 96, 96, 3] -> normalised f32 [batch, 3, 96, 96], as the image processor does it."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
