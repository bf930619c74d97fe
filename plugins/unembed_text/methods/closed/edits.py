"""Small edits of a text, the likeliest first, for the black box to judge: a token replaced, inserted, deleted, a few
moved, two swapped.

The beam of a corrector rewrites whole texts and its best few differ little. Once most words are right, what
is left is local: a word too many, a phrase in the wrong place, a near synonym. The decoder reads the hypothesis
through itself once, which says for each place how much it would rather see another token there.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text.decoder.attention import logsumexp
from unembed_text.decoder.decoder import Decoder

__all__ = ["Edit", "apply", "edits"]

NEVER = -torch.inf
SPAN = 6  # tokens moved together at most


class Edit(NamedTuple):
    """Edits of one text a row, each `[R, K]`: of the tokens in [begin, end), all of them at once.

    Places are counted in half steps: 2·i is the place of token i, 2·i − 1 the one before it, and `NOWHERE` deletes.
    The span goes to place `to`, token `other` to the span's own place (none if −1), and a new `token` to place `new`.
    """

    begin: Tensor
    end: Tensor
    to: Tensor
    other: Tensor
    token: Tensor
    new: Tensor


NOWHERE = 2**20


@torch.no_grad()
def edits(decoder: Decoder, states: Tensor, mask: Tensor, hypothesis: Tensor, *, count: int, choices: int) -> Tensor:
    """`count` different edits a row of `hypothesis` `[R, L]`, best first, as ids `[R, count, L + 1]` padded.

    An edit's score is the change in log-probability at the places where it joins other neighbours, with the text
    before each as it was; `choices` tokens a place are tried. Where a row has fewer edits than `count`, the
    hypothesis itself fills up.
    """
    pad, end = decoder.special.pad, decoder.special.end
    length = hypothesis.shape[1]
    places = torch.arange(length + 1, device=hypothesis.device)
    size = (hypothesis != pad).sum(1)
    after = F.pad(hypothesis, (0, 1), value=pad).scatter(1, size[:, None], end)  # what stands at each place
    log = decoder.logits(decoder.read(states, mask, hypothesis)).float()
    log = log.sub_(logsumexp(log)[..., None]).clamp_min_(-30)
    # `gain[r, i, j]`: how much likelier than the token at place i is that of place j there.
    gain = log.gather(2, after[:, None, :].expand(-1, length + 1, -1))
    own = gain.diagonal(dim1=1, dim2=2)
    gain = gain - own[..., None]
    log[..., [pad, decoder.special.start, end]] = NEVER
    best, token = log.scatter_(2, after[..., None], NEVER).topk(choices, dim=-1)
    best = best - own[..., None]
    inside, at_end = places < size[:, None], places <= size[:, None]

    replace = best.masked_fill(~inside[..., None], NEVER)
    insert = best.masked_fill(~at_end[..., None], NEVER)
    delete = F.pad(gain.diagonal(1, 1, 2), (0, 1), value=NEVER).masked_fill(~inside | (size[:, None] < 2), NEVER)
    swap = gain + gain.mT
    swap = swap.masked_fill((places[:, None] >= places - 1) | ~(inside[:, :, None] & inside[:, None, :]), NEVER)
    parts = [replace.flatten(1), insert.flatten(1), delete, swap.flatten(1)]
    # A span of w tokens from place i to before place k: three joints are new.
    for width in range(1, SPAN + 1):
        if width <= length:
            ends = (places + width).clamp_max(length)
            closed = gain.gather(2, ends[None, :, None].expand(len(gain), -1, 1))  # where the span was
            joints = gain.mT + gain[:, ends] + closed
            fits = (places + width <= size[:, None])[:, :, None] & at_end[:, None, :]
            # Of two neighbouring spans that change places the shorter one moves; of equal ones, the first.
            right, left = places - places[:, None] - width, places[:, None] - places
            idle = torch.maximum(right, left - 1) < width
            parts.append(joints.masked_fill(idle | ~fits, NEVER).flatten(1))
    score = torch.cat(parts, 1)
    score = F.pad(score, (0, max(0, count - score.shape[1])), value=NEVER)
    value, pick = score.topk(count, dim=1)
    bounds = torch.tensor([0, *(part.shape[1] for part in parts)], device=pick.device).cumsum(0)
    kind = torch.searchsorted(bounds, pick, right=True) - 1
    local = pick - bounds[kind.clamp_max(len(parts))]
    chosen = _decode(kind, local, token.flatten(1), length + 1, choices)
    texts = apply(hypothesis, chosen, pad)
    return torch.where((value > NEVER)[..., None], texts, F.pad(hypothesis, (0, 1), value=pad)[:, None])


def apply(hypothesis: Tensor, edit: Edit, pad: int) -> Tensor:
    """Each of the edits `[R, K]` of its row of `hypothesis` `[R, L]`, as ids `[R, K, L + 1]`."""
    places = torch.arange(hypothesis.shape[1], device=hypothesis.device)
    begin, end, to, other, token, new = (part[..., None] for part in edit)
    # A text is its tokens in the order of their places; sorting keeps the order of those that share one.
    place = torch.where(hypothesis != pad, 2 * places, NOWHERE)[:, None]
    place = torch.where((places >= begin) & (places < end), to, place)
    place = torch.where(places == other, 2 * begin, place)
    place = torch.cat([place, new], 2)
    text = torch.cat([hypothesis[:, None].expand(-1, token.shape[1], -1), token], 2)
    text = text.masked_fill(place >= NOWHERE, pad)
    return text.gather(2, place.argsort(dim=2, stable=True))


def _decode(kind: Tensor, local: Tensor, token: Tensor, places: int, choices: int) -> Edit:
    """The edits behind indices `local` into their kind's scores; see `edits` for the kinds' order."""
    replace, insert, delete, swap = (kind == index for index in range(4))
    move = kind >= 4
    written = replace | insert
    begin = torch.where(written, local // choices, torch.where(delete, local, local // places)).clamp_max(places - 1)
    second = local % places
    end = begin + torch.where(insert, 0, torch.where(move, kind - 3, 1))
    to = torch.where(move, 2 * second - 1, torch.where(swap, 2 * second, NOWHERE))
    new = torch.where(replace, 2 * begin, torch.where(insert, 2 * begin - 1, NOWHERE))
    word = token.gather(1, torch.where(written, local, 0))
    return Edit(begin, end, to, torch.where(swap, second, -1), word, new)
