"""Candidates that a surrogate of the black box has looked at, many for each one that the black box is asked about."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text.decoder.beams import padded
from unembed_text.methods.closed.edits import edits
from unembed_text.methods.closed.network import InversionNetwork

__all__ = ["SEEDS", "nearness", "screened_edits"]

POOL = {"cpu": 256, "cuda": 2048}  # edits of a text that the surrogate looks at, of each level
LEVELS = 2  # edits of edits of … a text
SEEDS = 16  # the nearest of a level, which are edited further
AT_ONCE = {"cpu": 128, "cuda": 32_768}  # texts that it reads at once


def nearness(network: InversionNetwork, target: Tensor, hypothesis: Tensor, embedding: Tensor, texts: Tensor) -> Tensor:
    """Cosines `[R, K]` of targets `[R, D]` and what the surrogate says of `texts` `[R, K, L]`.

    It is trusted for differences alone: what it says is shifted so that it is right about the hypothesis `[R, L]`,
    whose embedding `[R, D]` is known (as Echeverría and Hemker 2005 align a coarse model).
    """
    shift = F.normalize(embedding.float(), dim=-1) - network.predict(hypothesis)
    parts = texts.flatten(0, 1).split(AT_ONCE.get(texts.device.type, 128))
    said = torch.cat([network.predict(part) for part in parts]).unflatten(0, texts.shape[:2])
    return F.cosine_similarity(said + shift[:, None], target.float()[:, None], dim=-1)


@torch.no_grad()
def screened_edits(
    network: InversionNetwork,
    target: Tensor,
    hypothesis: Tensor,
    embedding: Tensor,
    states: Tensor,
    mask: Tensor,
    *,
    count: int,
    choices: int,
) -> Tensor:
    """The `count` edits, and edits of edits, of each hypothesis `[R, L]` nearest to the target by the surrogate.

    Best first, as ids `[R, count, L + LEVELS]` padded. Which edits it looks at the decoder says, from the encoder's
    `states` and `mask` of the hypothesis.
    """
    pad, most, length = network.special.pad, POOL.get(target.device.type, 256), hypothesis.shape[1] + LEVELS
    texts, scores, seeds = [], [], hypothesis[:, None]
    for level in range(LEVELS):
        many = seeds.shape[1]
        read, hidden = (x.repeat_interleave(many, 0) for x in (states, mask))
        given = network.decoder, read, hidden, seeds.flatten(0, 1)
        made = edits(*given, count=max(most, count) // many, choices=choices)
        made = padded(made.unflatten(0, (-1, many)).flatten(1, 2), length, pad)
        score = nearness(network, target, hypothesis, embedding, made[..., : hypothesis.shape[1] + level + 1])
        texts.append(made)
        scores.append(score)
        best = score.topk(min(SEEDS, score.shape[1])).indices[..., None]
        seeds = made.gather(1, best.expand(-1, -1, length))[..., : hypothesis.shape[1] + level + 1]
    pick = torch.cat(scores, 1).topk(count).indices[..., None]
    return torch.cat(texts, 1).gather(1, pick.expand(-1, -1, length))
