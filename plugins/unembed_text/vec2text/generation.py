"""Beam search as the pair's correctors met it: texts compete by their mean log-probability a token.

A text that ends leaves its beam to others (Wu et al. 2016, section 7, with a length penalty of 1), so several lengths
are seen; `unembed_text.generation` keeps an ended text in its beam, which is quicker and finds fewer.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text.attention import logsumexp
from unembed_text.generation import children
from unembed_text.network import T5Network

__all__ = ["beam_search"]


@torch.no_grad()
def beam_search(network: T5Network, states: Tensor, mask: Tensor, *, beams: int, length: int) -> Tensor:
    """The `beams` best texts found for each row, best first, as ids `[R, beams, length]` padded, without their end.

    A row ends when nothing still being written can beat the worst of its `beams` ended texts.
    """
    rows, device = len(states), states.device
    pad, end = network.special.pad, network.special.end
    result = torch.full((rows, beams, length), pad, device=device)
    alive = torch.arange(rows, device=device)
    cache = network.start(states, mask, beams=beams, length=length)
    last = torch.full((rows, 1), network.special.start, device=device)
    score = torch.zeros(rows, 1, device=device)
    ids = last.new_empty(rows, 1, 0)
    best = torch.full((rows, beams), -torch.inf, device=device)  # mean log-probability of the ended texts
    ended = result.clone()
    done = torch.zeros(rows, dtype=torch.bool, device=device)
    for position in range(length):
        logits = F.linear(network.step(last, cache), network.t5.lm_head.weight)
        whole = logsumexp(logits)  # what may not be written has its share too
        logits.index_fill_(-1, network.never, -torch.inf)
        if position == 0:
            logits[..., end] = -torch.inf  # no empty text
        value, parent, token = children(logits, score - whole, count=2 * beams)
        written = ids.gather(1, parent[..., None].expand(-1, -1, position))
        ends = token == end
        counts = ends & (torch.arange(ends.shape[1], device=device) < beams) & ~done[:, None]
        if counts.is_cuda or counts.any():  # asking a GPU would wait for it
            mean = (value / (position + 1)).masked_fill(~counts, -torch.inf)
            best, ended = _kept(best, ended, mean, written, beams)

        # The best that go on, in order.
        going = ends.int().argsort(dim=1, stable=True)[:, :beams]
        parent, last, score = (x.gather(1, going) for x in (parent, token, value))
        score = score.masked_fill(ends.gather(1, going), -torch.inf)
        ids = torch.cat([written.gather(1, going[..., None].expand(-1, -1, position)), last[..., None]], -1)
        cache.reorder(parent)
        done = done | (best[:, -1] >= value[:, 0] / (position + 1))
        if position + 1 < length and not cache.to_look():
            continue
        left = int((~done).sum())
        if position + 1 == length:
            best, ended = _kept(best, ended, (score / length).masked_fill(done[:, None], -torch.inf), ids, beams)
        if position + 1 == length or left == 0:
            result[alive] = ended
            break
        if cache.worth_keeping(left):
            result[alive] = ended
            kept = ~done
            alive, last, score, ids, best, ended, done = (x[kept] for x in (alive, last, score, ids, best, ended, done))
            cache.keep(kept)
    return result


def _kept(best: Tensor, ended: Tensor, mean: Tensor, written: Tensor, beams: int) -> tuple[Tensor, Tensor]:
    """The `beams` best of the ended texts and those that end now."""
    written = F.pad(written, (0, ended.shape[-1] - written.shape[-1]), value=0)
    best, pick = torch.cat([best, mean], 1).topk(beams, dim=1)
    return best, torch.cat([ended, written], 1).gather(1, pick[..., None].expand(-1, -1, ended.shape[-1]))
