"""Decoding: one sampled text a row for training, the best few by beam search for inversion.

The encoder runs once a row, its keys and values are shared by that row's beams, and rows that have finished
leave the batch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text.network import Cache, InversionNetwork

__all__ = ["beam_search", "sample"]


@torch.no_grad()
def sample(
    network: InversionNetwork,
    states: Tensor,
    mask: Tensor | None,
    *,
    length: int,
    temperature: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """One text a row, as ids `[R, length]` padded; `temperature` `[R]`, where 0 is greedy.

    Sampling is by the Gumbel maximum, so one vector mixes greedy and sampled rows.
    """
    rows = len(states)
    pad, end = network.special.pad, network.special.end
    cache = network.start(states, mask)
    last = torch.full((rows, 1), network.special.start, device=states.device)
    done = torch.zeros(rows, 1, dtype=torch.bool, device=states.device)
    out = []
    for position in range(length):
        scores = network.step(last, cache)[:, 0]
        noise = torch.rand(scores.shape, device=scores.device, generator=generator).clamp_(1e-10, 1 - 1e-7)
        scores = scores - temperature[:, None] * noise.log_().neg_().log_()
        if position == 0:
            scores[:, end] = -torch.inf
        last = scores.argmax(-1, keepdim=True)
        done = done | (last == end)
        out.append(last.masked_fill(done, pad))
    return torch.cat(out, 1)


@torch.no_grad()
def beam_search(network: InversionNetwork, states: Tensor, mask: Tensor | None, *, beams: int, length: int) -> Tensor:
    """The `beams` most likely texts of each row, best first, as ids `[R, beams, length]` padded.

    A finished text keeps its beam and its score; a row ends when all of its beams have.
    """
    rows, device = len(states), states.device
    pad, end = network.special.pad, network.special.end
    result = torch.full((rows, beams, length), pad, device=device)
    alive = torch.arange(rows, device=device)  # the rows of `result` still being written
    cache = network.start(states, mask)
    last = torch.full((rows, 1), network.special.start, device=device)
    score = torch.zeros(rows, 1, device=device)
    done = torch.zeros(rows, 1, dtype=torch.bool, device=device)
    ids = last.new_empty(rows, 1, 0)
    for position in range(length):
        step = network.step(last, cache)
        if position == 0:
            step[..., end] = -torch.inf
        # A finished beam goes on as itself alone, at no cost.
        step = step.masked_fill(done[..., None], -torch.inf)
        step[..., pad] = torch.where(done, 0.0, step[..., pad])
        best, token = step.topk(min(beams, step.shape[-1]), dim=-1)
        total = (score[..., None] + best).flatten(1)
        score, pick = total.topk(min(beams, total.shape[1]), dim=-1)
        parent = pick // best.shape[-1]
        last = token.flatten(1).gather(1, pick)
        done = done.gather(1, parent) | (last == end)
        last = last.masked_fill(last == end, pad)
        ids = torch.cat([ids.gather(1, parent[..., None].expand(-1, -1, position)), last[..., None]], -1)
        going = ~done.all(1)
        if position + 1 == length or not going.any():
            result[alive, : ids.shape[1], : position + 1] = ids
            break
        if not going.all():
            ended = ~going
            result[alive[ended], : ids.shape[1], : position + 1] = ids[ended]
            alive, last, score, done, ids, parent = (x[going] for x in (alive, last, score, done, ids, parent))
            _keep(cache, going)
        _reorder(cache, parent)
    return result


def _keep(cache: Cache, rows: Tensor) -> None:
    cache.own = [(key[rows], value[rows]) for key, value in cache.own]
    cache.cross = [(key[rows], value[rows]) for key, value in cache.cross]
    cache.mask = cache.mask if cache.mask is None else cache.mask[rows]


def _reorder(cache: Cache, parent: Tensor) -> None:
    index = parent[:, :, None, None, None]
    cache.own = [tuple(part.gather(1, index.expand(-1, -1, *part.shape[2:])) for part in pair) for pair in cache.own]


def padded(signals: Tensor, width: int, pad: int) -> Tensor:
    """Pad ids `[..., L]` on the right to `[..., width]`."""
    return F.pad(signals, (0, width - signals.shape[-1]), value=pad)
