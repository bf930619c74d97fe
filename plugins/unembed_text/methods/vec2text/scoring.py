"""Texts compete by their mean log-probability per token, as the pair's correctors met them.

A text that ends leaves its beam to others (Wu et al. 2016, section 7, with a length penalty of 1), so several lengths
are seen; `methods.closed.scoring` keeps an ended text in its beam, which is quicker and finds fewer.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text import kernels
from unembed_text.decoder.attention import logsumexp
from unembed_text.decoder.beams import append_token, expand_beams, gather_beams
from unembed_text.decoder.decoder import Decoder
from unembed_text.decoder.runs import Scoring

__all__ = ["Greedy", "MeanLogProbability", "scoring_of"]


def scoring_of(beams: int) -> Scoring:
    """That of a search with so many beams."""
    return MeanLogProbability() if beams > 1 else Greedy()


class GreedyState(NamedTuple):
    """The texts of a search with one beam, padded from their end on."""

    last: Tensor  # [R, 1], the newest tokens
    ended: Tensor  # [R, 1, length]
    done: Tensor  # [R] bool


@dataclass(frozen=True)
class Greedy(Scoring):
    """The likeliest token each time: with one beam, the first end is the best one."""

    def begin(self, decoder: Decoder, padding: Tensor) -> GreedyState:
        """See `Scoring`."""
        rows, device = len(padding), padding.device
        last = torch.full((rows, 1), decoder.special.start, device=device)
        return GreedyState(last, padding, torch.zeros(rows, dtype=torch.bool, device=device))

    def select(
        self, decoder: Decoder, hidden: Tensor, state: GreedyState, position: Tensor, beams: int, first: bool
    ) -> tuple[GreedyState, None]:
        """See `Scoring`."""
        logits, pad, end = F.linear(hidden, decoder.lm_head.weight), decoder.special.pad, decoder.special.end
        # In place, as little as a turn computes here: once a row is done it stays so, and a token its position's.
        if kernels.vocabulary is not None and logits.is_cuda:
            last = kernels.vocabulary.argmax_token(
                logits, decoder.never, end, pad, state.done, state.ended, position, first
            )
            return GreedyState(last, state.ended, state.done), None
        last = _allowed(decoder, logits, first).argmax(-1)
        done = state.done.logical_or_(last[:, 0] == end)
        last.masked_fill_(done[:, None], pad)
        return GreedyState(last, state.ended.index_copy_(2, position, last[..., None]), done), None

    def texts(self, state: GreedyState, *, cut: bool) -> Tensor:
        """See `Scoring`."""
        return state.ended


class MeanState(NamedTuple):
    """The texts of a beam search, those being written and those ended; all padded."""

    last: Tensor  # [R, B], the newest tokens
    score: Tensor  # [R, B]
    ids: Tensor  # [R, B, length]
    best: Tensor  # [R, beams], mean log-probability of the ended texts
    ended: Tensor  # [R, beams, length]
    done: Tensor  # [R] bool


@dataclass(frozen=True)
class MeanLogProbability(Scoring):
    """A row ends when nothing still being written can beat the worst of its ended texts, as many as beams."""

    def begin(self, decoder: Decoder, padding: Tensor) -> MeanState:
        """See `Scoring`."""
        (rows, beams, _), device = padding.shape, padding.device
        return MeanState(
            last=torch.full((rows, 1), decoder.special.start, device=device),
            score=torch.zeros(rows, 1, device=device),
            ids=padding[:, :1],
            best=torch.full((rows, beams), -torch.inf, device=device),
            ended=padding,
            done=torch.zeros(rows, dtype=torch.bool, device=device),
        )

    def select(
        self, decoder: Decoder, hidden: Tensor, state: MeanState, position: Tensor, beams: int, first: bool
    ) -> tuple[MeanState, Tensor]:
        """See `Scoring`."""
        logits = F.linear(hidden, decoder.lm_head.weight)
        whole = logsumexp(logits)  # what may not be written has its share too
        logits = _allowed(decoder, logits, first)
        value, parent, token = expand_beams(logits, state.score - whole, count=2 * beams)
        mean, ends = value / (position + 1), token == decoder.special.end
        counts = ends & (torch.arange(ends.shape[1], device=ends.device) < beams) & ~state.done[:, None]
        best, ended = _kept(state, mean.masked_fill(~counts, -torch.inf), gather_beams(state.ids, parent))

        # The best that go on, in order.
        unfinished = ends.int().argsort(dim=1, stable=True)[:, :beams]
        parent, last, score = (x.gather(1, unfinished) for x in (parent, token, value))
        score = score.masked_fill(ends.gather(1, unfinished), -torch.inf)
        done = state.done | (best[:, -1] >= mean[:, 0])
        return MeanState(last, score, append_token(state.ids, parent, last, position), best, ended, done), parent

    def texts(self, state: MeanState, *, cut: bool) -> Tensor:
        """See `Scoring`."""
        if not cut:
            return state.ended
        mean = (state.score / state.ids.shape[2]).masked_fill(state.done[:, None], -torch.inf)
        return _kept(state, mean, state.ids)[1]


def _allowed(decoder: Decoder, logits: Tensor, first: bool) -> Tensor:
    """`logits` `[R, B, V]`, in place, with −∞ for what may not be written: no empty text, for one."""
    logits.index_fill_(-1, decoder.never, -torch.inf)
    if first:
        logits[..., decoder.special.end] = -torch.inf
    return logits


def _kept(state: MeanState, mean: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and ids of the best among the ended texts and `ids`, which end now with scores `mean`."""
    best, pick = torch.cat([state.best, mean], 1).topk(state.best.shape[1], dim=1)
    return best, gather_beams(torch.cat([state.ended, ids], 1), pick)
