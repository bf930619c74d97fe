"""Edits of one token: replace, insert, delete, move, swap, the likeliest first, for the black box to judge.

The beam of a corrector rewrites whole texts and its best few differ little. Once most words are right, what
is left is local: a word too many, two in the wrong order, a near synonym. The network reads the hypothesis
through itself once, which says for each place how much it would rather see another token there.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text.network import InversionNetwork

__all__ = ["edits"]

NEVER = -torch.inf


@torch.no_grad()
def edits(
    network: InversionNetwork,
    states: Tensor,
    mask: Tensor,
    hypothesis: Tensor,
    *,
    count: int,
    choices: int,
) -> Tensor:
    """`count` different edits a row of `hypothesis` `[R, L]`, as ids `[R, count, L + 1]` padded.

    An edit's score is the change in log-probability where it is made, with the text before it as it is;
    `choices` tokens a place are tried. Where a row has fewer edits than `count`, the hypothesis itself fills up.
    """
    pad = network.special.pad
    length = hypothesis.shape[1]
    places = torch.arange(length + 1, device=hypothesis.device)
    size = (hypothesis != pad).sum(1)
    text = F.pad(hypothesis, (0, 1), value=pad)
    after = text.scatter(1, size[:, None], network.special.end)  # what stands at each place, the end included
    log = network.logits(network.read(states, mask, hypothesis)).log_softmax(-1)
    log = log.index_fill(-1, torch.tensor([network.special.pad, network.special.start], device=log.device), -30.0)
    # `say[r, i, j]`: the log-probability of the token of place j at place i.
    say = log.gather(2, after[:, None, :].expand(-1, length + 1, -1))
    own = say.diagonal(dim1=1, dim2=2)
    log[..., network.special.end] = NEVER
    best, token = (log - own[..., None]).scatter(2, after[..., None], NEVER).topk(choices, dim=-1)
    inside = places < size[:, None]
    at_end = places <= size[:, None]
    replace = best.masked_fill(~inside[..., None], NEVER)
    insert = best.masked_fill(~at_end[..., None], NEVER)
    remove = F.pad(say.diagonal(1, 1, 2), (0, 1)) - own
    remove = remove.masked_fill(~(inside & (size[:, None] > 1)), NEVER)
    put = say - own[..., None]  # token of place j put before place i, or in its stead
    move = put.mT + remove[..., None]  # from place j to before place i
    step = places[:, None] - places
    idle = (step == 0) | (step == -1)
    move = move.masked_fill(idle | ~(inside[:, :, None] & at_end[:, None, :]), NEVER)
    swap = put + put.mT
    swap = swap.masked_fill((step <= 1) | ~(inside[:, :, None] & inside[:, None, :]), NEVER)

    parts = [replace.flatten(1), insert.flatten(1), remove, move.flatten(1), swap.flatten(1)]
    score = torch.cat(parts, 1)
    score = F.pad(score, (0, max(0, count - score.shape[1])), value=NEVER)
    value, pick = score.topk(count, dim=1)
    ends = torch.tensor([part.shape[1] for part in parts], device=pick.device).cumsum(0)
    kind = torch.searchsorted(ends, pick, right=True)
    local = pick - F.pad(ends, (1, 0))[kind]
    tokens = kind <= 1
    first = torch.where(tokens, local // choices, torch.where(kind == 2, local, local // (length + 1))).clamp_max(
        length
    )
    second = local % (length + 1)
    new = token.flatten(1).gather(1, torch.where(tokens, local, 0))

    # A text is its tokens in the order of their keys; an edit changes keys, and adds one token.
    far = 4 * (length + 2)
    key = torch.where(inside, 2 * places, far)[:, None].repeat(1, pick.shape[1], 1)
    key = F.pad(key, (0, 1), value=far)
    text = F.pad(text[:, None].expand(-1, pick.shape[1], -1), (0, 1), value=pad).clone()
    text[..., -1] = torch.where(tokens, new, pad)
    added = torch.where(kind == 0, 2 * first, torch.where(kind == 1, 2 * first - 1, far))
    key[..., -1] = added
    here = torch.where(kind == 0, far, torch.where(kind == 1, key.gather(2, first[..., None])[..., 0], far))
    here = torch.where(kind == 3, 2 * second - 1, torch.where(kind == 4, 2 * second, here))
    key = key.scatter(2, first[..., None], here[..., None])
    there = torch.where(kind == 4, 2 * first, key.gather(2, second[..., None])[..., 0])
    key = key.scatter(2, second[..., None], there[..., None])
    text = text.masked_fill(key >= far, pad)
    text = text.gather(2, key.argsort(dim=2, stable=True))[..., : length + 1]
    return torch.where((value > NEVER)[..., None], text, F.pad(hypothesis, (0, 1), value=pad)[:, None])
