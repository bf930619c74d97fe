"""How embeddings are compared."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Similarity", "cosine"]

Similarity = Callable[[Tensor, Tensor], Tensor]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of each row of `a` with the same row of `b`, both `[N, D]`, as float32 `[N]`, from −1 to 1.

    Examples:
        >>> import torch, unembed
        >>> unembed.cosine(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
        tensor([1., 0.])
    """
    return torch.nn.functional.cosine_similarity(a.float(), b.float(), dim=-1).clamp(-1, 1)
