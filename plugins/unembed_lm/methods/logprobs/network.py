"""The network that guesses and corrects prompts: a T5 whose encoder reads the steps of an answer.

A step becomes encoder positions, with the token that was observed; the first, which says most, becomes more of them.
With no hypothesis the encoder reads the target alone; with one it reads the target, the hypothesis's embedding, their
differences and the hypothesis's tokens.
"""

from typing import Any

import torch
from torch import Tensor, nn

from unembed_lm.layout import ABSENT, Layout
from unembed_lm.methods.logprobs.vocabulary import SPECIAL, UNKNOWN, Vocabulary
from unembed_lm.methods.logprobs.whitening import Whitening
from unembed_text.toolkit import Projection, T5Network

__all__ = ["PromptNetwork", "StepReader"]


class StepReader(nn.Module):
    """Steps `[N, T, values]` to encoder positions `[N, first + (T − 1) · positions, width]`."""

    def __init__(self, values: int, hidden: int, first: int, positions: int, width: int) -> None:
        super().__init__()
        self.first = Projection(values, hidden, first, width)
        self.later = Projection(values, hidden, positions, width)

    def forward(self, steps: Tensor, tokens: Tensor | None) -> Tensor:
        """See the class; `tokens` `[N, T, width]` are added at the first position of each step."""
        first, later = self.first(steps[:, 0]), self.later(steps[:, 1:])
        if tokens is not None:
            first = torch.cat([first[:, :1] + tokens[:, :1].to(first.dtype), first[:, 1:]], 1)
            later = torch.cat([later[:, :, :1] + tokens[:, 1:, None].to(later.dtype), later[:, :, 1:]], 2)
        return torch.cat([first, later.flatten(1, 2)], 1)


class PromptNetwork(T5Network):
    """See the module's docstring. `config` is a T5Config's dictionary; the rest is that of `PromptShape`.

    Prompts go in and out as the ids of the `Vocabulary`. Embeddings may have any number of steps.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        tied: bool,
        tokens: int,
        rank: int,
        steps: int,
        first: int,
        positions: int,
        hidden: int,
        vocabulary: int,
    ) -> None:
        super().__init__(config, dimension=Layout(tokens, steps).dimension, special=SPECIAL, tied=tied)
        self.layout = Layout(tokens, steps)
        self.places = (first, positions)
        self.ids = Vocabulary(vocabulary, config["vocab_size"] - UNKNOWN - 1)
        self.whitening = Whitening(tokens, rank)
        sizes = hidden, first, positions, self.width
        self.target = StepReader(rank, *sizes)
        self.hypothesis = StepReader(rank, *sizes)
        self.difference = StepReader(rank + 1, *sizes)
        self.decoder.never = torch.tensor([SPECIAL.pad, SPECIAL.start, UNKNOWN])

    def encode(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `T5Network.encode`; `hypothesis` `[N, L]` are the network's own ids."""
        ratios, answer = self.layout.unpack(target)
        white, here = self.whitening(ratios), answer != ABSENT
        parts = [self.target(white, self.decoder.token_embed(self.ids.read(answer)))]
        absent = [self._spread(~here)]
        if hypothesis is not None and embedding is not None:
            theirs, its = self.layout.unpack(embedding)
            other, both = self.whitening(theirs), here & (its != ABSENT)
            gap = (white - other) * both[..., None]
            size = gap.norm(dim=-1, keepdim=True).clamp_min(1e-3)
            unit = gap.shape[-1] ** 0.5
            parts += [
                self.hypothesis(other, None),
                self.difference(torch.cat([gap / size * unit, size.log()], -1), None),
                self.decoder.token_embed(hypothesis),
            ]
            absent += [self._spread(~both)] * 2
        x = torch.cat([part.to(parts[0].dtype) for part in parts], 1)
        return self.encoded(x, hypothesis, torch.cat(absent, 1))

    def forward(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None = None,
        embedding: Tensor | None = None,
    ) -> Tensor:
        """Mean cross-entropy in nats per token (the end counts as one); signals and hypotheses as the black box's."""
        read = None if hypothesis is None else self.read(hypothesis)
        states, mask = self.encode(target, read, embedding)
        loss = self.decoder.loss(states, mask, self.read(signals))
        # A gradient of each parameter at each step, if only of zeros: several processes needn't look which have none.
        if hypothesis is None and torch.is_grad_enabled():
            unread = [*self.hypothesis.parameters(), *self.difference.parameters()]
            loss = loss + 0 * sum(weight.sum() for weight in unread)
        return loss

    def read(self, signals: Tensor) -> Tensor:
        """The prompts of signals `[N, L + T]` as the network's ids `[N, L]`."""
        return self.ids.read(signals[:, : -self.layout.steps])

    def _spread(self, steps: Tensor) -> Tensor:
        """What holds of steps `[N, T]`, of their positions."""
        first, positions = self.places
        return torch.cat(
            [steps[:, :1].expand(-1, first), steps[:, 1:].repeat_interleave(positions, 1)],
            1,
        )
