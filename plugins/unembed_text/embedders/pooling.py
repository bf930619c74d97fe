"""One vector a text from the states of its tokens."""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Pooling", "pool"]

Pooling = Literal["mean", "cls", "last", "max", "pooler"]


def pool(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector `[N, D]` a row of states `[N, L, D]` and mask `[N, L]`: mean, first, last or largest.

    "pooler" is an output of some models, not of their states.
    """
    kept = mask[..., None].to(states.dtype)
    if pooling == "mean":
        return (states * kept).sum(1) / kept.sum(1)
    if pooling == "max":
        return states.masked_fill(kept == 0, -torch.inf).amax(1)
    place = mask.sum(1) - 1 if pooling == "last" else torch.zeros_like(mask[:, 0])
    return states[torch.arange(len(states), device=states.device), place]
