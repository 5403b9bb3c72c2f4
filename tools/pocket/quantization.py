"""Group-wise symmetric quantisation, as the shard sets use it, simulated in torch.

A weight is cut into groups of 32 along its input dimension; a group is stored as small integers and one f16 scale.
`quantize_model_` rounds a model's weights in place, to measure what rounding costs.  `train_with_rounding` makes a model
compute with rounded weights while gradients pass straight through to the unrounded ones, to train it to bear rounding.
"""
from __future__ import annotations

import types

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 32


def fake_quantize(w: Tensor, bits: int = 4, search: bool = False) -> Tensor:
    """w rounded to `bits` bits in groups of 32 along everything but its first dimension.

    The scale is max|w| / (2^(bits-1) - 1), or with `search` the one of 24 near it with the least squared error.
    """
    top = 2 ** (bits - 1) - 1
    flat = w.reshape(w.shape[0], -1)
    if flat.shape[1] % GROUP:
        return w
    g = flat.reshape(-1, GROUP)
    unit = g.abs().amax(1, keepdim=True).clamp_min(1e-8) / top

    def rounded(scale: Tensor) -> Tensor:
        scale = scale.half().float().clamp_min(1e-8)
        return (g / scale).round().clamp(-top - 1, top) * scale

    best = rounded(unit)
    if search:
        error = ((best - g) ** 2).sum(1, keepdim=True)
        for factor in torch.linspace(0.70, 1.15, 24).tolist():
            trial = rounded(unit * factor)
            e = ((trial - g) ** 2).sum(1, keepdim=True)
            best = torch.where(e < error, trial, best)
            error = torch.minimum(e, error)
    return best.reshape(w.shape)


def quantizable(model: nn.Module):
    """(name, module) of everything whose weight a shard set packs: linear layers, the patch convolution, embeddings."""
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)) or (isinstance(module, nn.Embedding) and module.weight.shape[1] % GROUP == 0
                                                          and "position" not in name and "relative" not in name):
            yield name, module


@torch.no_grad()
def quantize_model_(model: nn.Module, bits: int, search: bool = True) -> None:
    for _, module in quantizable(model):
        module.weight.copy_(fake_quantize(module.weight.float(), bits, search))


def train_with_rounding(model: nn.Module, bits: int = 4) -> None:
    """From now on the forward pass of every quantizable module uses its rounded weight."""

    def weight(m: nn.Module) -> Tensor:
        return m.weight + (fake_quantize(m.weight.detach(), bits) - m.weight).detach()

    def linear(self: nn.Linear, x: Tensor) -> Tensor:
        return F.linear(x, weight(self), self.bias)

    def conv(self: nn.Conv2d, x: Tensor) -> Tensor:
        return F.conv2d(x, weight(self), self.bias, self.stride)

    def embedding(self: nn.Embedding, x: Tensor) -> Tensor:
        return F.embedding(x, weight(self), self.padding_idx)

    forwards = {nn.Linear: linear, nn.Conv2d: conv, nn.Embedding: embedding}
    for _, module in quantizable(model):
        module.forward = types.MethodType(forwards[type(module)], module)
