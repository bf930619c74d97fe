"""The network for prompts as hypothesizer, corrector and editor."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.contract.proposers import Corrector, Hypothesizer
from unembed.errors import InputError
from unembed_lm.codec import widened
from unembed_lm.layout import ABSENT, joined, parted
from unembed_lm.methods.logprobs.network import PromptNetwork
from unembed_text.toolkit import LogProbability, decode, edits

__all__ = ["PromptCorrector", "PromptEditor", "PromptHypothesizer", "Writer"]

BROAD = 32  # from so many corrections of a prompt on, beam search's later ones are all alike


class Writer:
    """What a network writes as signals of the black box: `width` tokens of a prompt, and `steps` of a continuation.

    With `forced` that is the target's own, so that the model is asked along it; else it is left to the model.
    """

    def __init__(self, network: PromptNetwork, *, width: int, steps: int, length: int, forced: bool) -> None:
        self.network, self.width, self.steps, self.length, self.forced = network, width, steps, length, forced

    def search(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        count: int,
        *,
        sampled: bool = False,
    ) -> Tensor:
        """The `count` likeliest prompts of each target, `[N, count, W + T]`."""
        network = self.network
        read = None if hypothesis is None else self.read(hypothesis)
        with network.autocast():
            states, mask = network.encode(target, read, embedding)
            ids = decode(network.decoder, states, mask, LogProbability(sampled), beams=count, length=self.length)
        return self.signals(ids, target)

    def check(self, target: Tensor) -> None:
        """Raise InputError for targets that no model answered: with tokens that it lacks, or steps missing between."""
        _, answer = self.network.layout.unpack(target)
        here, most = answer != ABSENT, self.network.ids.size
        odd = ((answer < ABSENT) | (answer >= most)).any(1) | (here.long().diff(dim=1) > 0).any(1) | ~here[:, 0]
        if odd.any():
            row = int(odd.nonzero()[0])
            raise InputError(
                f"row {row} of the vectors is no answer of this model: after the log-ratios of each step comes its "
                f"token's id plus 1, up to {most}, and 0 from the first step on that wasn't observed"
            )

    def read(self, signals: Tensor) -> Tensor:
        """The prompts of signals as the network's ids `[N, L]`, without columns of padding alone."""
        prompts, _ = parted(signals, self.steps)
        return self.network.ids.read(prompts[:, : max(1, int((prompts != ABSENT).sum(1).max()))])

    def signals(self, ids: Tensor, target: Tensor) -> Tensor:
        """The network's ids `[N, count, L]` as signals for these targets."""
        prompts = self.network.ids.closed(self.network.ids.written(ids))[..., : self.width]
        if self.forced:
            _, answer = self.network.layout.unpack(target)
            answer = answer[:, : self.steps]
            answer = F.pad(answer, (0, self.steps - answer.shape[1]), value=ABSENT)
            continuation = answer[:, None].expand(-1, ids.shape[1], -1)
        else:
            continuation = ids.new_full((*ids.shape[:2], self.steps), ABSENT)
        return joined(widened(prompts, self.width), continuation)


class PromptHypothesizer(Hypothesizer):
    """Beam search from the target alone."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        self.writer.check(target)
        return self.writer.search(target, None, None, count)


class PromptCorrector(Corrector):
    """Beam search from the target, a hypothesis and its embedding; from `BROAD` corrections on half are sampled."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        return self.writer.search(target, hypothesis, embedding, count, sampled=count >= BROAD)


class PromptEditor(Corrector):
    """Small edits of a hypothesis that the network would rather see."""

    def __init__(self, writer: Writer, *, choices: int = 32) -> None:
        self.writer, self.choices = writer, choices

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        writer, network = self.writer, self.writer.network
        read = writer.read(hypothesis)
        # Every token's probability at every place is held for these rows.
        rows = max(1, 2**27 // ((read.shape[1] + 1) * network.vocabulary))
        parts = []
        for t, h, e in zip(*(x.split(rows) for x in (target, read, embedding)), strict=True):
            with network.autocast():
                states, mask = network.encode(t, h, e)
                made = edits(network.decoder, states, mask, h, count=count, choices=self.choices)
            parts.append(writer.signals(made, t))
        return torch.cat(parts)
