"""A T5 (Raffel et al. 2020) that reads what a subclass makes of embeddings and a hypothesis, and writes signals.

The forward passes are ours, since speed is the point: one code path for training and for cached generation, no masks
where there is no padding.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config

from unembed_text.decoder.blocks import Encoder, supports
from unembed_text.decoder.decoder import Decoder, Special
from unembed_text.decoder.layers import EPSILON, as_stored, compiled_layers

__all__ = ["Projection", "T5Network"]

EMBEDDING_RMS = 13.5  # of the pretrained token embeddings, which the condition vectors join


class Projection(nn.Module):
    """One embedding `[N, D]` to a few encoder positions `[N, positions, width]`."""

    def __init__(self, dimension: int, hidden: int, positions: int, width: int) -> None:
        super().__init__()
        self.positions = positions
        self.fc1 = nn.Linear(dimension, hidden)
        self.fc2 = nn.Linear(hidden, positions * width)
        nn.init.normal_(self.fc1.weight, std=dimension**-0.5)
        nn.init.normal_(self.fc2.weight, std=EMBEDDING_RMS * 1.5 * hidden**-0.5)
        nn.init.zeros_(self.fc1.bias)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """See the class; `shift` `[N, hidden]` is added to the hidden layer before it is rectified."""
        wide: Tensor = self.fc1(x)
        made: Tensor = self.fc2(F.gelu(wide if shift is None else wide + shift)).unflatten(-1, (self.positions, -1))
        return made


class T5Network(nn.Module, ABC):
    """See the module's docstring; `config` is a T5Config's dictionary, and `tied` is explained at `Decoder`."""

    def __init__(self, config: dict[str, Any], *, dimension: int, special: Special, tied: bool) -> None:
        super().__init__()
        t5 = T5Config(**config)
        if not supports(t5):
            what = f"{t5.feed_forward_proj!r} and a layer_norm_epsilon of {t5.layer_norm_epsilon}"
            raise ValueError(f"T5 layers come with relu or gated-gelu, and {EPSILON}; this one has {what}")
        self.config, self.special, self.dimension = config, special, dimension
        self.width, self.vocabulary = t5.d_model, t5.vocab_size
        self.encoder = Encoder(t5, t5.num_layers)
        self.decoder = Decoder(t5, special, tied=tied)

    def compile_layers(self) -> None:
        """Compile what repeats: the layers, the loss and the halves of a decoding step."""
        compiled = compiled_layers()
        for module in self.modules():
            if isinstance(module, Encoder | Decoder):
                module.layers = compiled

    @abstractmethod
    def encode(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """Encoder states `[N, S, width]` and the additive mask `[N, 1, 1, S]` of the hypothesis's padding.

        `target` and `embedding` are `[N, D]`, `hypothesis` ids `[N, L]`; the last two come together or not.
        """

    def encoded(self, x: Tensor, hypothesis: Tensor | None, absent: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States and mask of inputs `[N, S, width]` that end in those of `hypothesis`, if there is one.

        `absent` `[N, P]` marks those of the first P inputs that aren't there. May write into `x`.
        """
        encoder, seeds = self.encoder, self.encoder.seeds()
        if seeds.begin is not None:  # a compiled function that is first seen to do nothing is never compiled
            x = encoder.layers.drop(x, encoder.dropout, seeds.begin)
        mask = torch.zeros(x.shape[:2], device=x.device)
        if absent is not None:
            mask[:, : absent.shape[1]].masked_fill_(absent, -1e9)
        if hypothesis is not None:
            mask[:, -hypothesis.shape[1] :].masked_fill_(hypothesis == self.special.pad, -1e9)
        mask = mask[:, None, None]
        with as_stored(x, self.decoder.token_embed.weight) as x:
            return encoder(x, mask, seeds), mask

    def forward(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None = None,
        embedding: Tensor | None = None,
    ) -> Tensor:
        """Mean cross-entropy in nats per token (the end counts as one) of `signals` `[N, L]`."""
        return self.decoder.loss(*self.encode(target, hypothesis, embedding), signals)

    def autocast(self) -> torch.autocast:
        """In bfloat16 on a GPU, and where weights are stored in it."""
        weight = self.decoder.token_embed.weight
        half = weight.is_cuda or weight.dtype == torch.bfloat16
        return torch.autocast(weight.device.type, torch.bfloat16, enabled=half)
