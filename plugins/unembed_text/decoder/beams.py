"""Beam search: the best few texts a row, by whatever a search scores.

The encoder runs once a row, its keys and values are shared by that row's beams, and rows that have finished
leave the batch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text.decoder.decoder import Decoder
from unembed_text.decoder.graphs import begin
from unembed_text.decoder.runs import Scoring

__all__ = ["append_token", "decode", "expand_beams", "gather_beams", "padded"]

GROUP = 128


@torch.no_grad()
def decode(decoder: Decoder, states: Tensor, mask: Tensor, scoring: Scoring, *, beams: int, length: int) -> Tensor:
    """The `beams` best texts of each row by `scoring`, best first: ids `[R, beams, length]`, padded, without their end.

    `states` `[R, S, width]` are the encoder's, under the additive `mask` `[R, 1, 1, S]`.
    """
    rows, device = len(states), states.device
    result = torch.full((rows, beams, length), decoder.special.pad, device=device)
    alive = torch.arange(rows, device=device)  # the rows of `result` still being written
    run = begin(decoder, states, mask, scoring, beams=beams, length=length)
    state = scoring.begin(decoder, result.clone())
    for position in range(length):
        state = run.advance(state)
        left = run.unfinished(state.done)
        if position + 1 == length or left == 0:
            texts = scoring.texts(state, cut=left != 0)
            result[alive, : texts.shape[1]] = texts
            break
        if left is not None and run.should_compact(left):
            ended = state.done if state.done.ndim == 1 else state.done.all(1)
            texts = scoring.texts(state, cut=False)
            result[alive[ended], : texts.shape[1]] = texts[ended]
            alive, state = alive[~ended], type(state)(*(x[~ended] for x in state))
            if not len(alive):  # the last one ended meanwhile
                break
            run.compact(~ended)
    return result


def append_token(ids: Tensor, parent: Tensor, last: Tensor, position: Tensor) -> Tensor:
    """Those of `ids` `[R, B, length]` that `parent` `[R, count]` says, with `last` added: `[R, count, length]`."""
    return gather_beams(ids, parent).index_copy_(2, position, last[..., None])


def gather_beams(ids: Tensor, which: Tensor) -> Tensor:
    """Those of `ids` `[R, B, length]` that `which` `[R, count]` says: `[R, count, length]`."""
    return ids.gather(1, which[..., None].expand(-1, -1, ids.shape[2]))


def expand_beams(
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
