"""Texts compete by their log-probability; a finished one keeps its beam, and some beams may be samples instead."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from unembed_text.decoder.attention import logsumexp
from unembed_text.decoder.beams import append_token, expand_beams
from unembed_text.decoder.decoder import Decoder
from unembed_text.decoder.runs import Scoring
from unembed_text.decoder.sampling import PICKS, gumbel_noise

__all__ = ["TEMPERATURE", "LogProbability"]

TEMPERATURE = 0.6  # of the texts that a search samples
SHIFT = 7919  # places by which their noise moves on from one token to the next


class BeamState(NamedTuple):
    """The texts of a search."""

    last: Tensor  # [R, B], the newest tokens
    score: Tensor  # [R, B]
    done: Tensor  # [R, B] bool
    ids: Tensor  # [R, B, length], padded


@dataclass(frozen=True)
class LogProbability(Scoring):
    """The likeliest texts, best first; a row ends when all of its beams have.

    With `sampled` half as many, best first, and then as many samples at a temperature of `TEMPERATURE`, in no order.
    """

    sampled: bool = False

    def begin(self, decoder: Decoder, padding: Tensor) -> BeamState:
        """See `Scoring`."""
        rows, device = len(padding), padding.device
        return BeamState(
            last=torch.full((rows, 1), decoder.special.start, device=device),
            score=torch.zeros(rows, 1, device=device),
            done=torch.zeros(rows, 1, dtype=torch.bool, device=device),
            ids=padding[:, :1],
        )

    def select(
        self, decoder: Decoder, hidden: Tensor, state: BeamState, position: Tensor, beams: int, first: bool
    ) -> tuple[BeamState, Tensor]:
        """See `Scoring`."""
        logits = decoder.logits(hidden)
        if first:
            logits[..., decoder.special.end] = -torch.inf  # no empty text
        if not self.sampled:
            return _best(decoder, logits, state, position, beams)
        index, half = torch.arange(logits.shape[1], device=logits.device), beams // 2
        likely, drawn = (index, index.expand(half)) if first else index.split([len(index) - half, half])
        best, parent = _best(decoder, logits[:, : len(likely)], _of(state, likely), position, beams - half)
        others = _drawn(decoder, logits if first else logits[:, len(likely) :], _of(state, drawn), position)
        both = BeamState(*(torch.cat(parts, 1) for parts in zip(best, others, strict=True)))
        return both, torch.cat([parent, drawn.expand(len(parent), -1)], 1)

    def texts(self, state: BeamState, *, cut: bool) -> Tensor:
        """See `Scoring`; texts that haven't ended compete as they are."""
        return state.ids


def _of(state: BeamState, beams: Tensor) -> BeamState:
    return BeamState(*(x.index_select(1, beams) for x in state))


def _best(decoder: Decoder, logits: Tensor, state: BeamState, position: Tensor, count: int) -> tuple[BeamState, Tensor]:
    """The `count` best texts one token longer than those of `state`, and their parents, given next tokens' logits."""
    pad, end = decoder.special.pad, decoder.special.end
    base = (state.score - logsumexp(logits)).masked_fill(state.done, -torch.inf)
    ended = state.score.masked_fill(~state.done, -torch.inf)
    score, parent, last = expand_beams(logits, base, ended, count=count, pad=pad)
    done = state.done.gather(1, parent) | (last == end)
    last = last.masked_fill(last == end, pad)
    return BeamState(last, score, done, append_token(state.ids, parent, last, position)), parent


def _drawn(decoder: Decoder, logits: Tensor, state: BeamState, position: Tensor) -> BeamState:
    """The texts of `state` with a token more, drawn by the Gumbel maximum from `logits` `[R, B or 1, V]`.

    Each beam has noise of its own, the same for all rows, which every token moves on by a fixed number of places: a row
    gives the same samples in any batch.
    """
    beams, size = state.last.shape[1], logits.shape[-1]
    noise = _noise(beams, size, logits.device)
    noise = noise.index_select(1, (torch.arange(size, device=logits.device) + position * SHIFT) % size)
    parts = logits.split(max(1, PICKS // beams))
    last = torch.cat([torch.add(noise, part, alpha=1 / TEMPERATURE).argmax(-1) for part in parts])
    done = state.done | (last == decoder.special.end)
    last = last.masked_fill(done, decoder.special.pad)
    return state._replace(last=last, done=done, ids=state.ids.index_copy(2, position, last[..., None]))


@cache  # a graph reads it wherever it lay when recorded
def _noise(beams: int, size: int, device: torch.device) -> Tensor:
    """Gumbel noise `[beams, size]`, on every device the same."""
    return gumbel_noise((beams, size), torch.device("cpu"), torch.Generator().manual_seed(0)).to(device)
