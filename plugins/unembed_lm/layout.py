"""Where things lie in the signals and the embeddings of a language model, and how two embeddings compare."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.errors import InputError

__all__ = ["ABSENT", "Layout", "joined", "parted"]

ABSENT = -1  # stands in signals where there is no token


def joined(prompts: Tensor, continuation: Tensor) -> Tensor:
    """Signals `[..., W + T]` of prompts `[..., W]` and the continuation `[..., T]` that is to be forced onto them.

    Both are the model's token ids, padded on the right with `ABSENT`. A continuation of padding is none: the model
    then writes its own.
    """
    return torch.cat([prompts, continuation], -1)


def parted(signals: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The prompts and the continuations that `joined` put together."""
    return signals[..., :-steps], signals[..., -steps:]


@dataclass(frozen=True)
class Layout:
    """An embedding has `steps` parts, each of `tokens` log-ratios and a number: one more than the token observed.

    A log-ratio is a token's log-probability less the mean of those of all `tokens`. A step that wasn't observed, after
    the end of an answer for one, holds zeros only.
    """

    tokens: int
    steps: int

    @property
    def dimension(self) -> int:
        """The width of an embedding."""
        return self.steps * (self.tokens + 1)

    def pack(self, ratios: Tensor, continuation: Tensor) -> Tensor:
        """Embeddings `[N, D]` in float32 of log-ratios `[N, T, K]` and the continuation observed `[N, T]`."""
        here = (continuation != ABSENT)[..., None]
        parts = [ratios.float().masked_fill(~here, 0.0), (continuation[..., None] + 1).float()]
        return torch.cat(parts, -1).flatten(1)

    def unpack(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The log-ratios `[N, T, K]` and the continuation `[N, T]` of embeddings `[N, D]` of any number of steps."""
        rows = vectors.unflatten(1, (-1, self.tokens + 1))
        return rows[..., :-1], rows[..., -1].round().long() - 1

    def cut(self, vectors: Tensor, steps: int) -> Tensor:
        """Embeddings `[N, D]` as if only their first `steps` steps had been observed."""
        if not 1 <= steps <= self.steps:
            raise InputError(f"steps must be from 1 to {self.steps}; got {steps}")
        kept = vectors.clone()
        kept[:, steps * (self.tokens + 1) :] = 0
        return kept

    def similarity(self, target: Tensor, other: Tensor) -> Tensor:
        """The mean over the target's steps of the cosine of its log-ratios with those of `other`, both `[N, D]`.

        A step before which the continuations differ counts 0, for it shows what was written and not the prompt.
        """
        (a, mine), (b, its) = self.unpack(target), self.unpack(other)
        agree = self._led_alike(mine, its)
        each = F.cosine_similarity(a.float(), b.float(), dim=-1) * agree
        return self._mean(each, mine)

    def text_similarity(self, target: Tensor, other: Tensor) -> Tensor:
        """The share of the target's steps up to which both continuations `[N, D]` are the same: for text alone."""
        mine, its = self.unpack(target)[1], self.unpack(other)[1]
        return self._mean(self._led_alike(mine, its) & (mine == its), mine)

    @staticmethod
    def _led_alike(mine: Tensor, its: Tensor) -> Tensor:
        same = (mine == its).long().cumprod(1)
        before = torch.cat([torch.ones_like(same[:, :1]), same[:, :-1]], 1).bool()
        return before & (mine != ABSENT) & (its != ABSENT)

    @staticmethod
    def _mean(each: Tensor, mine: Tensor) -> Tensor:
        here = mine != ABSENT
        return ((each * here).sum(1) / here.sum(1).clamp_min(1)).clamp(-1, 1)
