"""The blocks of a T5 (Raffel et al. 2020) and the encoder made of them, as modules that hold named parameters.

What they compute is written in `layers`, as functions of the tensors that `weights` gives. Queries, keys and values
have a map each, as has the gate of a feed-forward network: training steps follow each map's own scale.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config

from unembed_text.decoder.layers import (
    EPSILON,
    CrossAttentionWeights,
    DecoderWeights,
    EncoderWeights,
    Layers,
    MLPWeights,
    Seeds,
    SelfAttentionWeights,
    dropout_seeds,
)

__all__ = [
    "Blocks",
    "DecoderBlock",
    "Encoder",
    "EncoderBlock",
    "PositionBias",
    "SelfAttention",
    "relative_buckets",
    "supports",
]


def supports(config: T5Config) -> bool:
    """Whether these are the blocks of such a T5."""
    kinds = ("relu", False), ("gelu_new", True)
    return (config.dense_act_fn, config.is_gated_act) in kinds and config.layer_norm_epsilon == EPSILON


class SelfAttention(nn.Module):
    """The norm, and the maps of an attention of positions to each other."""

    qkv_proj: Tensor | None

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        width, inner = config.d_model, config.num_heads * config.d_kv
        self.norm = _norm(config)
        self.q_proj = _linear(config, width, inner, std=(width * config.d_kv) ** -0.5)
        self.k_proj = _linear(config, width, inner, std=width**-0.5)
        self.v_proj = _linear(config, width, inner, std=width**-0.5)
        self.out_proj = _linear(config, inner, width, std=inner**-0.5)
        self.norm_folded = False
        self.register_buffer("qkv_proj", None, persistent=False)  # so that it moves with the network

    def fold_norm(self) -> None:
        """Let the maps after the norm take over its scale."""
        _fold(self.norm, self.q_proj, self.k_proj, self.v_proj)
        self.norm_folded = True

    def fuse_qkv(self) -> None:
        """Store the three maps side by side, for inference: one product where there were three.

        Their own weights become parts of the whole.
        """
        parts = (self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
        self.qkv_proj = torch.cat([part.data for part in parts])
        for part, piece in zip(parts, self.qkv_proj.split([len(part) for part in parts]), strict=True):
            part.data = piece

    def weights(self) -> SelfAttentionWeights:
        """As the layers take them."""
        apart = (self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
        qkv = apart if self.qkv_proj is None else (self.qkv_proj,)
        return SelfAttentionWeights(None if self.norm_folded else self.norm.weight, qkv, self.out_proj.weight)


class CrossAttention(nn.Module):
    """The norm, and the maps of an attention to the encoder's states."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        width, inner = config.d_model, config.num_heads * config.d_kv
        self.norm = _norm(config)
        self.q_proj = _linear(config, width, inner, std=(width * config.d_kv) ** -0.5)
        self.k_proj = _linear(config, width, inner, std=width**-0.5)
        self.v_proj = _linear(config, width, inner, std=width**-0.5)
        self.out_proj = _linear(config, inner, width, std=inner**-0.5)
        self.norm_folded = False

    def fold_norm(self) -> None:
        """Let the map after the norm take over its scale."""
        _fold(self.norm, self.q_proj)
        self.norm_folded = True

    def weights(self) -> CrossAttentionWeights:
        """As the layers take them."""
        norm = None if self.norm_folded else self.norm.weight
        kv = self.k_proj.weight, self.v_proj.weight
        return CrossAttentionWeights(norm, self.q_proj.weight, kv, self.out_proj.weight)


class MLP(nn.Module):
    """The norm, and the maps of a feed-forward network: rectified (T5), or with a gate (T5 1.1)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        width, hidden = config.d_model, config.d_ff
        self.norm = _norm(config)
        self.gate_proj = _linear(config, width, hidden, std=width**-0.5) if config.is_gated_act else None
        self.fc1 = _linear(config, width, hidden, std=width**-0.5)
        self.fc2 = _linear(config, hidden, width, std=hidden**-0.5)
        self.norm_folded = False

    def fold_norm(self) -> None:
        """Let the maps after the norm take over its scale."""
        _fold(self.norm, self.fc1, *(() if self.gate_proj is None else (self.gate_proj,)))
        self.norm_folded = True

    def weights(self) -> MLPWeights:
        """As the layers take them."""
        fc1 = self.fc1.weight
        wide = (fc1,) if self.gate_proj is None else (self.gate_proj.weight, fc1)
        return MLPWeights(None if self.norm_folded else self.norm.weight, wide, self.fc2.weight)


class EncoderBlock(nn.Module):
    """An attention of positions to each other, and a feed-forward network."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.mlp = MLP(config)

    def fold_norms(self) -> None:
        """Let maps take over the scales of the norms before them, ahead of `fuse_qkv` and of half precision."""
        for part in (self.attention, self.mlp):
            part.fold_norm()

    def fuse_qkv(self) -> None:
        """See `SelfAttention.fuse_qkv`."""
        self.attention.fuse_qkv()

    def weights(self) -> EncoderWeights:
        """As `layers.encoder_block` takes them."""
        return EncoderWeights(self.attention.weights(), self.mlp.weights())


class DecoderBlock(nn.Module):
    """An attention of positions to those before them, one to the encoder, and a feed-forward network."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.cross_attention = CrossAttention(config)
        self.mlp = MLP(config)

    def fold_norms(self) -> None:
        """See `EncoderBlock.fold_norms`."""
        for part in (self.attention, self.cross_attention, self.mlp):
            part.fold_norm()

    def fuse_qkv(self) -> None:
        """See `SelfAttention.fuse_qkv`."""
        self.attention.fuse_qkv()

    def weights(self) -> DecoderWeights:
        """As `layers.decoder_block` takes them."""
        return DecoderWeights(self.attention.weights(), self.cross_attention.weights(), self.mlp.weights())


B = TypeVar("B", bound=nn.Module)


class Blocks(nn.ModuleList, Generic[B]):
    """Blocks of one kind."""

    def __init__(self, blocks: Iterable[B]) -> None:
        super().__init__(blocks)

    def __iter__(self) -> Iterator[B]:
        return cast(Iterator[B], super().__iter__())


class PositionBias(nn.Module):
    """What an attention of positions to each other adds to its scores, by how far apart they are."""

    def __init__(self, config: T5Config, *, causal: bool) -> None:
        super().__init__()
        self.causal, self.distance = causal, config.relative_attention_max_distance
        self.weight = nn.Parameter(torch.empty(config.relative_attention_num_buckets, config.num_heads))
        nn.init.normal_(self.weight, std=config.initializer_factor * config.d_model**-0.5)

    def forward(self, length: int) -> Tensor:
        """`[1, H, length, length]` in float32, laid out as kernels want it."""
        place = torch.arange(length, device=self.weight.device)
        buckets = relative_buckets(
            place - place[:, None], causal=self.causal, count=len(self.weight), distance=self.distance
        )
        return F.embedding(buckets, self.weight).permute(2, 0, 1)[None].float().contiguous()


def relative_buckets(offset: Tensor, *, causal: bool, count: int, distance: int) -> Tensor:
    """The bucket of each key by its `offset` from the query: T5's, exact nearby and logarithmic up to `distance`."""
    ahead: Tensor | int = 0
    if causal:
        offset = -offset.clamp_max(0)
    else:
        count //= 2
        ahead, offset = (offset > 0).long() * count, offset.abs()
    exact = count // 2
    far = exact + (torch.log(offset.float() / exact) / math.log(distance / exact) * (count - exact)).long()
    return ahead + torch.where(offset < exact, offset, far.clamp_max(count - 1))


class Encoder(nn.Module):
    """A stack of blocks that reads vectors."""

    def __init__(self, config: T5Config, blocks: int) -> None:
        super().__init__()
        self.heads, self.dropout = config.num_heads, float(config.dropout_rate)
        self.position_bias = PositionBias(config, causal=False)
        self.blocks = Blocks(EncoderBlock(config) for _ in range(blocks))
        self.norm = _norm(config)
        self.layers = Layers()

    def seeds(self) -> Seeds:
        """For a pass in training; none in evaluation."""
        return dropout_seeds(len(self.blocks), self.norm.weight.device, active=self.training and self.dropout > 0)

    def forward(self, x: Tensor, mask: Tensor, seeds: Seeds | None = None) -> Tensor:
        """States of inputs `[N, L, width]` under the additive `mask` `[N, 1, 1, L]`.

        Without `seeds` nothing is dropped; inputs are, where they are made. May write into `x`.
        """
        _, each, end = seeds or Seeds(None, [None] * len(self.blocks), None)
        rate = 0.0 if seeds is None else self.dropout
        bias = self.position_bias(x.shape[1])
        for block, seed in zip(self.blocks, each, strict=True):
            x = self.layers.encoder_block(x, bias, mask, self.heads, rate, seed, self.training, block.weights())
        return self.layers.final_norm(x, self.norm.weight, rate, end)


def _norm(config: T5Config) -> nn.RMSNorm:
    norm = nn.RMSNorm(config.d_model, eps=EPSILON)
    nn.init.constant_(norm.weight, config.initializer_factor)
    return norm


def _linear(config: T5Config, inputs: int, outputs: int, *, std: float) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(linear.weight, std=config.initializer_factor * std)  # as transformers initialises a T5
    return linear


def _fold(norm: nn.RMSNorm, *maps: nn.Linear) -> None:
    for part in maps:
        part.weight.data = part.weight.data * norm.weight.data
    norm.weight.data.fill_(1)
