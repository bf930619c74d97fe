"""What a painting is judged by in training: shares of the gradient, a frozen student, pixels at all resolutions."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["balanced", "frozen", "pixel_distance"]


def balanced(made: Tensor, weight: float) -> Tensor:
    """`made` for one of several losses: the gradient that comes back becomes `weight` times that of a mean over pixels.

    So weights are shares, whatever a loss's own scale is and becomes (Défossez et al. 2022, section 3.4).
    """
    part = made.view_as(made)
    part.register_hook(
        lambda gradient: gradient * (weight / (gradient.norm() * math.sqrt(made.numel())).clamp_min(1e-20))
    )
    return part


def frozen(module: nn.Module, inputs: Tensor) -> Tensor:
    """`module(inputs)` through which `inputs` learn and the module doesn't."""
    state = {name: parameter.detach() for name, parameter in module.named_parameters()}
    found: Tensor = torch.func.functional_call(module, state, (inputs,))
    return found


def pixel_distance(made: Tensor, signals: Tensor) -> Tensor:
    """Mean absolute differences at full, half, quarter, … resolution, added up: `[N]`; shapes count like edges."""
    gap, total = made.float() - signals, made.new_zeros(len(made), dtype=torch.float)
    while True:
        total = total + gap.abs().mean((1, 2, 3))
        if min(gap.shape[2:]) < 8:
            return total
        gap = F.avg_pool2d(gap, 2)
