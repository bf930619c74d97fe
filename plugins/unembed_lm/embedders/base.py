"""A language model as the black box: what every way to ask one has in common."""

import random
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor

from unembed.contract.embedder import Embedder
from unembed.costs.meter import Meter
from unembed.errors import InputError
from unembed_lm.codec import PromptCodec
from unembed_lm.embedders.frame import Frame
from unembed_lm.layout import ABSENT, Layout, parted

__all__ = ["Access", "PromptEmbedder", "choose_tokens"]

Access = Literal["forced", "full", "biased", "text"]


class PromptEmbedder(Embedder):
    """A causal language model asked for the log-probabilities of its answer's first `steps` tokens.

    Signals are `[N, W + steps]`: see `layout.joined`. Embeddings are those of `Layout`, over the token ids `tokens`.
    `access` says what the model shows:

    - "forced": the distribution of each step, also along a continuation that is forced onto a prompt;
    - "full": the same along the model's own continuation alone;
    - "biased": the likeliest 20 tokens a step, and the rest by biasing them into view, a few at a time;
    - "text": the continuation alone.
    """

    def __init__(
        self,
        *,
        name: str,
        tokenizer: Any,
        frame: Frame,
        tokens: Sequence[int],
        steps: int,
        width: int,
        access: Access,
        device: torch.device | str = "cpu",
        meter: Meter | None = None,
    ) -> None:
        self.tokenizer, self.frame, self.tokens, self.access = tokenizer, frame, tuple(tokens), access
        self.layout = Layout(len(self.tokens), steps)
        self.codec = PromptCodec(tokenizer, width=width, steps=steps)
        super().__init__(
            name=f"{name} ({access})",  # figures of one access say nothing of another
            modality="prompt",
            dimension=self.layout.dimension,
            normalized=False,
            device=device,
            similarity=self.layout.text_similarity if access == "text" else self.layout.similarity,
            meter=meter,
        )

    @property
    def forces(self) -> bool:
        """Whether a target's continuation can be forced onto a hypothesis."""
        return self.access in ("forced", "biased")

    @final
    def _embed(self, signals: Tensor) -> Tensor:
        prompts, continuation = parted(signals, self.layout.steps)
        given = (continuation != ABSENT).any(1)
        parts: list[tuple[Tensor, Tensor]] = []
        for rows, ask in ((~given, self._own), (given, self._forced)):
            where = rows.nonzero()[:, 0]
            if len(where):
                parts.append((where, self.layout.pack(*ask(prompts[where], continuation[where]))))
        order = torch.cat([where for where, _ in parts])
        vectors = torch.cat([part for _, part in parts])
        return torch.empty_like(vectors).index_copy_(0, order, vectors)

    @abstractmethod
    def _own(self, prompts: Tensor, continuation: Tensor) -> tuple[Tensor, Tensor]:
        """Log-ratios `[N, T, K]` along the model's own likeliest continuation of `prompts` `[N, W]`, and that `[N, T]`.

        A continuation stops after a token that ends an answer; the `continuation` given holds nothing.
        """

    @abstractmethod
    def _forced(self, prompts: Tensor, continuation: Tensor) -> tuple[Tensor, Tensor]:
        """Log-ratios `[N, T, K]` along the `continuation` `[N, T]` given, and that."""


def choose_tokens(count: int, vocabulary: int, seed: int) -> list[int]:
    """`count` ids below `vocabulary`, in order: always the same for a seed. Raises InputError where there are fewer."""
    if count > vocabulary:
        raise InputError(f"tokens: {count} are more than the {vocabulary} of the vocabulary")
    return sorted(random.Random(seed).sample(range(vocabulary), count))
