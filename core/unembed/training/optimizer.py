"""AdamW whose rate follows each tensor's own scale, and a warm-up–stable–decay schedule."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["optimizer", "rate_at"]


def optimizer(parameters: Iterable[Tensor], *, rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW in which a tensor's step is `rate` times its RMS at the start (as Adafactor scales its steps).

    Pretrained T5 weights differ by two orders of magnitude between matrices, so one flat rate is far too
    slow for some and too fast for others. Scales are rounded to powers of two to keep the groups, and so the
    kernel launches, few.
    """
    parameters = list(parameters)
    groups: dict[float, list[Tensor]] = {}
    for parameter in parameters:
        rms = max(parameter.detach().float().pow(2).mean().sqrt().item(), 1e-2)
        groups.setdefault(2.0 ** round(math.log2(rms)), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": tensors, "lr": rate * scale, "scale": scale} for scale, tensors in groups.items()],
        lr=rate,
        betas=(0.9, 0.98),
        eps=1e-12,
        weight_decay=weight_decay,
        fused=parameters[0].is_cuda,
    )


def rate_at(step: int, progress: float, *, warmup: int, decay: float) -> float:
    """The schedule's factor: linear warm-up, flat, and linear decay over the last `decay` of `progress` 0 to 1."""
    left = (1 - progress) / max(decay, 1e-9)
    return min(1.0, (step + 1) / warmup, max(0.0, left))
