"""The closed-loop network as hypothesizer, corrector and editor."""

import torch
from torch import Tensor

from unembed.contract.proposers import Corrector, Hypothesizer
from unembed_text.decoder.beams import decode, padded
from unembed_text.methods.closed.edits import edits
from unembed_text.methods.closed.network import InversionNetwork
from unembed_text.methods.closed.scoring import LogProbability
from unembed_text.methods.closed.surrogate import SEEDS, screened_edits

__all__ = ["NetworkCorrector", "NetworkEditor", "NetworkHypothesizer", "surprisal"]

BROAD = 32  # from so many corrections of a text on, beam search's later ones are all alike


class NetworkHypothesizer(Hypothesizer):
    """Beam search from the target alone; `noise`, here and below, is the known one of unit targets' values."""

    def __init__(self, network: InversionNetwork, *, width: int, length: int, noise: float | None = None) -> None:
        self.network, self.width, self.length, self.noise = network, width, length, noise

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return _search(self.network, target, None, None, count, self.length, self.width, self.noise)


class NetworkCorrector(Corrector):
    """Beam search from the target, a hypothesis and its embedding; from `BROAD` corrections on half are sampled."""

    def __init__(self, network: InversionNetwork, *, width: int, length: int, noise: float | None = None) -> None:
        self.network, self.width, self.length, self.noise = network, width, length, noise

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        given = (target, hypothesis, embedding)
        return _search(self.network, *given, count, self.length, self.width, self.noise, sampled=count >= BROAD)


class NetworkEditor(Corrector):
    """Edits of a hypothesis: those that the network would rather see, or those that its surrogate finds nearest."""

    def __init__(self, network: InversionNetwork, *, width: int, choices: int = 32, noise: float | None = None) -> None:
        self.network, self.width, self.choices, self.noise = network, width, choices, noise

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        network = self.network
        hypothesis = _trimmed(hypothesis, network.special.pad)
        # Every token's probability at every place is held for these rows, with a surrogate for their best edits too.
        each = (hypothesis.shape[1] + 1) * network.vocabulary * (SEEDS if network.surrogate else 1)
        rows = max(1, 2**27 // each)
        parts = []
        for t, h, e in zip(*(x.split(rows) for x in (target, hypothesis, embedding)), strict=True):
            with network.autocast():
                states, mask = network.encode(t, h, e, _told(t, self.noise))
                if network.surrogate is None:
                    parts.append(edits(network.decoder, states, mask, h, count=count, choices=self.choices))
                else:
                    found = screened_edits(network, t, h, e, states, mask, count=count, choices=self.choices)
                    parts.append(_trimmed(found, network.special.pad))
        return torch.cat([padded(part[..., : self.width], self.width, network.special.pad) for part in parts])


@torch.no_grad()
def surprisal(network: InversionNetwork, target: Tensor, signals: Tensor, *, noise: float | None = None) -> Tensor:
    """Nats that `signals` `[N, L]` take the network's first guess by surprise, each given its target `[N, D]`: `[N]`.

    That is −log of their probability, end included: how much of a text is left unsaid by its vector, at most.
    """
    pad, end = network.special.pad, network.special.end
    signals = _trimmed(signals, pad)
    ends = (signals != pad).sum(1, keepdim=True)
    tokens = torch.cat([signals, torch.full_like(ends, pad)], 1).scatter(1, ends, end)
    rows, found = max(1, 2**27 // (tokens.shape[1] * network.vocabulary)), []
    for some, read, wanted in zip(target.split(rows), signals.split(rows), tokens.split(rows), strict=True):
        with network.autocast():
            states, mask = network.encode(some, None, None, _told(some, noise))
            log = network.decoder.logits(network.decoder.read(states, mask, read)).float().log_softmax(-1)
        each = -log.gather(2, wanted[..., None])[..., 0]
        found.append(each.masked_fill(wanted == pad, 0.0).sum(1))
    return torch.cat(found)


def _trimmed(hypothesis: Tensor, pad: int) -> Tensor:
    """Without the columns that are padding in every row."""
    return hypothesis[..., : max(1, int((hypothesis != pad).sum(-1).max()))]


def _told(target: Tensor, noise: float | None) -> Tensor | None:
    """What `InversionNetwork.encode` takes of a noise that all rows have."""
    return None if noise is None else torch.full_like(target[:, 0], noise)


def _search(
    network: InversionNetwork,
    target: Tensor,
    hypothesis: Tensor | None,
    embedding: Tensor | None,
    count: int,
    length: int,
    width: int,
    noise: float | None,
    *,
    sampled: bool = False,
) -> Tensor:
    if hypothesis is not None:
        hypothesis = _trimmed(hypothesis, network.special.pad)
    with network.autocast():
        states, mask = network.encode(target, hypothesis, embedding, _told(target, noise))
        ids = decode(network.decoder, states, mask, LogProbability(sampled), beams=count, length=length)
    return padded(ids, width, network.special.pad)
