"""How embeddings are compared."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Similarity", "cosine"]

Similarity = Callable[[Tensor, Tensor], Tensor]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Row-wise cosine of two batches of embeddings, each `[N, D]`, as float32 `[N]`, from −1 to 1."""
    return torch.nn.functional.cosine_similarity(a.float(), b.float(), dim=-1).clamp(-1, 1)
