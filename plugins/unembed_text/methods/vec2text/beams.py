"""Beam search as the pair's correctors met it: texts compete by their mean log-probability a token.

A text that ends leaves its beam to others (Wu et al. 2016, section 7, with a length penalty of 1), so several lengths
are seen; `unembed_text.generation` keeps an ended text in its beam, which is quicker and finds fewer.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text.decoder.attention import logsumexp
from unembed_text.decoder.beams import children, grown, texts
from unembed_text.kernels import fused_decoding
from unembed_text.methods.closed.network import T5Network

__all__ = ["beam_search"]


class _State(NamedTuple):
    """The texts of a beam search, those being written and those ended; all padded."""

    last: Tensor  # [R, B], the newest tokens
    score: Tensor  # [R, B]
    ids: Tensor  # [R, B, length]
    best: Tensor  # [R, beams], mean log-probability of the ended texts
    ended: Tensor  # [R, beams, length]
    done: Tensor  # [R] bool


class _Lone(NamedTuple):
    """The texts of a search with one beam, padded from their end on."""

    last: Tensor  # [R, 1], the newest tokens
    ended: Tensor  # [R, 1, length]
    done: Tensor  # [R] bool


@torch.no_grad()
def beam_search(network: T5Network, states: Tensor, mask: Tensor, *, beams: int, length: int) -> Tensor:
    """The `beams` best texts found for each row, best first, as ids `[R, beams, length]` padded, without their end.

    A row ends when nothing still being written can beat the worst of its `beams` ended texts.
    """
    rows, device = len(states), states.device
    result = torch.full((rows, beams, length), network.special.pad, device=device)
    alive = torch.arange(rows, device=device)  # the rows of `result` still being written
    cache = network.start(states, mask, beams=beams, length=length, follow=_longer if beams > 1 else _likeliest)
    last = torch.full((rows, 1), network.special.start, device=device)
    done = torch.zeros(rows, dtype=torch.bool, device=device)
    state: _State | _Lone = _Lone(last, result.clone(), done)
    if beams > 1:
        score, best = torch.zeros(rows, 1, device=device), torch.full((rows, beams), -torch.inf, device=device)
        state = _State(last, score, result[:, :1], best, result, done)
    for position in range(length):
        state = network.turn(state, cache)
        left = cache.going(state.done)
        if position + 1 == length or left == 0:
            result[alive] = _cut(state, length) if left != 0 and isinstance(state, _State) else state.ended
            break
        if left is not None and cache.worth_keeping(left):
            going = ~state.done
            result[alive] = state.ended
            alive, state = alive[going], type(state)(*(x[going] for x in state))
            if not len(alive):  # the last one ended meanwhile
                break
            cache.keep(going)
    return result


def _likeliest(
    network: T5Network, hidden: Tensor, state: _Lone, position: Tensor, beams: int, first: bool
) -> tuple[_Lone, None]:
    """The texts after one more token, where there is one beam: the first end is the best one."""
    logits, pad, end = F.linear(hidden, network.t5.lm_head.weight), network.special.pad, network.special.end
    # In place, as little as a turn computes here: once a row is done it stays so, and a token its position's.
    if fused_decoding is not None and logits.is_cuda:
        last = fused_decoding.likeliest(logits, network.never, end, pad, state.done, state.ended, position, first)
        return _Lone(last, state.ended, state.done), None
    last = _allowed(network, logits, first).argmax(-1)
    done = state.done.logical_or_(last[:, 0] == end)
    last.masked_fill_(done[:, None], pad)
    return _Lone(last, state.ended.index_copy_(2, position, last[..., None]), done), None


def _longer(
    network: T5Network, hidden: Tensor, state: _State, position: Tensor, beams: int, first: bool
) -> tuple[_State, Tensor]:
    """The texts after one more token, and their parents: see `Follow`."""
    logits = F.linear(hidden, network.t5.lm_head.weight)
    whole = logsumexp(logits)  # what may not be written has its share too
    logits = _allowed(network, logits, first)
    value, parent, token = children(logits, state.score - whole, count=2 * beams)
    mean, ends = value / (position + 1), token == network.special.end
    counts = ends & (torch.arange(ends.shape[1], device=ends.device) < beams) & ~state.done[:, None]
    best, ended = _kept(state, mean.masked_fill(~counts, -torch.inf), texts(state.ids, parent))

    # The best that go on, in order.
    going = ends.int().argsort(dim=1, stable=True)[:, :beams]
    parent, last, score = (x.gather(1, going) for x in (parent, token, value))
    score = score.masked_fill(ends.gather(1, going), -torch.inf)
    done = state.done | (best[:, -1] >= mean[:, 0])
    return _State(last, score, grown(state.ids, parent, last, position), best, ended, done), parent


def _allowed(network: T5Network, logits: Tensor, first: bool) -> Tensor:
    """`logits` `[R, B, V]`, in place, with −∞ for what may not be written: no empty text, for one."""
    logits.index_fill_(-1, network.never, -torch.inf)
    if first:
        logits[..., network.special.end] = -torch.inf
    return logits


def _cut(state: _State, length: int) -> Tensor:
    """The best texts where those that haven't ended end now."""
    mean = (state.score / length).masked_fill(state.done[:, None], -torch.inf)
    return _kept(state, mean, state.ids)[1]


def _kept(state: _State, mean: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and ids of the best among the ended texts and `ids`, which end now with scores `mean`."""
    best, pick = torch.cat([state.best, mean], 1).topk(state.best.shape[1], dim=1)
    return best, texts(torch.cat([state.ended, ids], 1), pick)
