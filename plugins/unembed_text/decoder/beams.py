"""Decoding: one sampled text a row for training, the best few by beam search, or best and sampled ones, for inversion.

The encoder runs once a row, its keys and values are shared by that row's beams, and rows that have finished
leave the batch.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text.decoder.attention import logsumexp
from unembed_text.methods.closed.network import InversionNetwork, T5Network

__all__ = ["beam_search", "nearby", "sample"]


GROUP = 128
NOISES = 64
PICKS = 32_768  # positions whose logits are held at once
WARMTH = 0.6  # temperature of the texts that a search samples
TURN = 7919  # places by which their noise turns from one token to the next


@torch.no_grad()
def sample(
    network: InversionNetwork,
    states: Tensor,
    mask: Tensor,
    *,
    length: int,
    temperature: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """One text a row, as ids `[R, length]` padded; `temperature` `[R]`, where 0 is greedy.

    Sampling is by the Gumbel maximum, so one vector mixes greedy and sampled rows; a few draws of the noise
    are shared out over the rows, each of which is still sampled from its own distribution.
    """
    rows, weight = len(states), network.t5.lm_head.weight
    pad, end = network.special.pad, network.special.end
    cache = network.start(states, mask, beams=1, length=length)
    last = torch.full((rows, 1), network.special.start, device=states.device)
    done = torch.zeros(rows, 1, dtype=torch.bool, device=states.device)
    banned = _banned(network)
    first = banned.clone()
    first[end] = -torch.inf  # no empty text
    out = []
    for position in range(length):
        hidden = network.step(last, cache)[:, 0]
        noise = _gumbel((NOISES, len(weight)), states.device, generator)
        last = network.pick(hidden, weight, banned if position else first, temperature, noise)[:, None]
        done = done | (last == end)
        out.append(last.masked_fill(done, pad))
    return torch.cat(out, 1)


@torch.no_grad()
def nearby(
    network: InversionNetwork,
    states: Tensor,
    mask: Tensor,
    signals: Tensor,
    temperature: Tensor,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Texts a little off `signals` `[R, L]`, as a search meets them in its last rounds: `[R, L]`.

    A share of each row's tokens, from none to all, gives way to what the network would write there after the true
    ones; every other row is also a little out of order.
    """
    pad, weight = network.special.pad, network.t5.lm_head.weight
    device, (rows, length) = signals.device, signals.shape
    hidden = network.read(states, mask, signals)[:, :length].flatten(0, 1)
    banned = _banned(network)
    banned[network.special.end] = -torch.inf
    noise = _gumbel((NOISES, len(weight)), device, generator)
    written = [
        network.pick(part, weight, banned, warm, noise)
        for part, warm in zip(hidden.split(PICKS), temperature.repeat_interleave(length).split(PICKS), strict=True)
    ]
    drawn = {"device": device, "generator": generator}
    inside = signals != pad
    changed = inside & (torch.rand(rows, length, **drawn) < torch.rand(rows, 1, **drawn))
    ids = torch.where(changed, torch.cat(written).view(rows, length), signals)
    jitter = torch.randn(rows, length, **drawn) * torch.rand(rows, 1, **drawn)
    jitter[::2] = 0
    order = (torch.arange(length, device=device) + jitter).masked_fill(~inside, torch.inf).argsort(1)
    return ids.gather(1, order)


def _banned(network: InversionNetwork) -> Tensor:
    weight = network.t5.lm_head.weight
    return torch.zeros(len(weight), device=weight.device).index_fill_(0, network.never, -torch.inf)


def _gumbel(shape: tuple[int, ...], device: torch.device, generator: torch.Generator) -> Tensor:
    noise = torch.rand(shape, device=device, generator=generator)
    return noise.clamp_(1e-10, 1 - 1e-7).log_().neg_().log_().neg_()


class _State(NamedTuple):
    """The texts of a search."""

    last: Tensor  # [R, B], the newest tokens
    score: Tensor  # [R, B]
    done: Tensor  # [R, B] bool
    ids: Tensor  # [R, B, length], padded


@torch.no_grad()
def beam_search(
    network: T5Network,
    states: Tensor,
    mask: Tensor,
    *,
    beams: int,
    length: int,
    sampled: bool = False,
) -> Tensor:
    """The `beams` most likely texts of each row, best first, as ids `[R, beams, length]` padded.

    With `sampled` half as many, best first, and then as many samples at a temperature of `WARMTH`, in no order.
    A finished text keeps its beam and its score; a row ends when all of its beams have.
    """
    rows, device, pad = len(states), states.device, network.special.pad
    result = torch.full((rows, beams, length), pad, device=device)
    alive = torch.arange(rows, device=device)  # the rows of `result` still being written
    follow = _longer_or_drawn if sampled else _longer
    cache = network.start(states, mask, beams=beams, length=length, follow=follow)
    state = _State(
        last=torch.full((rows, 1), network.special.start, device=device),
        score=torch.zeros(rows, 1, device=device),
        done=torch.zeros(rows, 1, dtype=torch.bool, device=device),
        ids=result[:, :1],
    )
    for position in range(length):
        state = network.turn(state, cache)
        left = cache.going(state.done)
        if position + 1 == length or left == 0:
            result[alive, : state.ids.shape[1]] = state.ids
            break
        if left is not None and cache.worth_keeping(left):
            ended = state.done.all(1)
            going = ~ended
            result[alive[ended], : state.ids.shape[1]] = state.ids[ended]
            alive, state = alive[going], _State(*(x[going] for x in state))
            if not len(alive):  # the last one ended meanwhile
                break
            cache.keep(going)
    return result


def _longer(
    network: T5Network, hidden: Tensor, state: _State, position: Tensor, beams: int, first: bool
) -> tuple[_State, Tensor]:
    """The best texts one token longer, and their parents: see `Follow`."""
    return _best(network, _logits(network, hidden, first), state, position, beams)


def _longer_or_drawn(
    network: T5Network, hidden: Tensor, state: _State, position: Tensor, beams: int, first: bool
) -> tuple[_State, Tensor]:
    """The same of the first half of the beams, and a token drawn for each of the others."""
    logits = _logits(network, hidden, first)
    index, half = torch.arange(logits.shape[1], device=logits.device), beams // 2
    likely, drawn = (index, index.expand(half)) if first else index.split([len(index) - half, half])
    best, parent = _best(network, logits[:, : len(likely)], _of(state, likely), position, beams - half)
    others = _drawn(network, logits if first else logits[:, len(likely) :], _of(state, drawn), position)
    both = _State(*(torch.cat(parts, 1) for parts in zip(best, others, strict=True)))
    return both, torch.cat([parent, drawn.expand(len(parent), -1)], 1)


def _logits(network: T5Network, hidden: Tensor, first: bool) -> Tensor:
    logits = network.logits(hidden)
    if first:
        logits[..., network.special.end] = -torch.inf  # no empty text
    return logits


def _of(state: _State, beams: Tensor) -> _State:
    return _State(*(x.index_select(1, beams) for x in state))


def _best(network: T5Network, logits: Tensor, state: _State, position: Tensor, count: int) -> tuple[_State, Tensor]:
    """The `count` best texts one token longer than those of `state`, and their parents, given next tokens' logits."""
    pad, end = network.special.pad, network.special.end
    base = (state.score - logsumexp(logits)).masked_fill(state.done, -torch.inf)
    ended = state.score.masked_fill(~state.done, -torch.inf)
    score, parent, last = children(logits, base, ended, count=count, pad=pad)
    done = state.done.gather(1, parent) | (last == end)
    last = last.masked_fill(last == end, pad)
    return _State(last, score, done, grown(state.ids, parent, last, position)), parent


def _drawn(network: T5Network, logits: Tensor, state: _State, position: Tensor) -> _State:
    """The texts of `state` with a token more, drawn by the Gumbel maximum from `logits` `[R, B or 1, V]`.

    Each beam has noise of its own, the same for all rows, which every token turns on by a fixed number of places: a row
    gives the same samples in any batch.
    """
    beams, size = state.last.shape[1], logits.shape[-1]
    noise = _noise(beams, size, logits.device)
    noise = noise.index_select(1, (torch.arange(size, device=logits.device) + position * TURN) % size)
    parts = logits.split(max(1, PICKS // beams))
    last = torch.cat([torch.add(noise, part, alpha=1 / WARMTH).argmax(-1) for part in parts])
    done = state.done | (last == network.special.end)
    last = last.masked_fill(done, network.special.pad)
    return state._replace(last=last, done=done, ids=state.ids.index_copy(2, position, last[..., None]))


@cache  # a recording reads it wherever it lay when recorded
def _noise(beams: int, size: int, device: torch.device) -> Tensor:
    """Gumbel noise `[beams, size]`, on every device the same."""
    return _gumbel((beams, size), torch.device("cpu"), torch.Generator().manual_seed(0)).to(device)


def grown(ids: Tensor, parent: Tensor, last: Tensor, position: Tensor) -> Tensor:
    """Those of `ids` `[R, B, length]` that `parent` `[R, count]` says, with `last` added: `[R, count, length]`."""
    return texts(ids, parent).index_copy_(2, position, last[..., None])


def texts(ids: Tensor, which: Tensor) -> Tensor:
    """Those of `ids` `[R, B, length]` that `which` `[R, count]` says: `[R, count, length]`."""
    return ids.gather(1, which[..., None].expand(-1, -1, ids.shape[2]))


def children(
    logits: Tensor, base: Tensor, ended: Tensor | None = None, *, count: int, pad: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best texts one token longer than the beams of each row, best first, as `[R, count]` each.

    A beam's next token scores its entry in `logits` `[R, B, V]` plus the beam's in `base` `[R, B]`; one that has ended
    goes on as itself alone by a `pad`, with its score in `ended` `[R, B]` (and −∞ in `base`, as the others here).
    Gives scores (float32), the beams they come from, tokens.
    The best lie in the groups of tokens with the highest maxima, and a row has few groups to sort.
    """
    (rows, beams, size), device = logits.shape, logits.device
    groups = size // GROUP
    base = base[..., None]
    body, rest = logits[..., : groups * GROUP].unflatten(-1, (groups, GROUP)), logits[..., groups * GROUP :]
    group = (body.amax(-1).float() + base).flatten(1).topk(min(count, beams * groups)).indices
    kept = body.flatten(1, 2).gather(1, group[..., None].expand(-1, -1, GROUP)).float()
    parent = group // max(groups, 1)
    beam = torch.arange(beams, device=device)
    # Candidates `[R, …]` and which beam's which token each is: of the best groups, of what fills none, of ended beams.
    total = [kept + base.gather(1, parent[..., None]), rest.float() + base]
    which = [
        group[..., None] * GROUP + parent[..., None] * (size - groups * GROUP) + torch.arange(GROUP, device=device),
        beam[:, None] * size + torch.arange(groups * GROUP, size, device=device).expand(rows, beams, -1),
    ]
    if ended is not None:
        total, which = [*total, ended], [*which, (beam * size + pad).expand(rows, -1)]
    best = torch.cat([part.flatten(1) for part in total], 1)
    best, place = best.topk(min(count, best.shape[1]))
    pick = torch.cat([part.flatten(1) for part in which], 1).gather(1, place)
    return best, pick // size, pick % size


def padded(signals: Tensor, width: int, pad: int) -> Tensor:
    """Pad ids `[..., L]` on the right to `[..., width]`."""
    return F.pad(signals, (0, width - signals.shape[-1]), value=pad)
