"""Rough vectors, as stores hold them: with noise, or rounded; and how the network is told of it."""

import torch
from torch import Tensor

__all__ = ["EXACT", "erring", "features", "roughened"]

EXACT = 1e-4  # noise a value of a unit vector, below which it is none: half precision moves one by less
LEAST, MOST = 5e-4, 3e-2  # noise that training adds
ROUNDED = 0.3  # share of rough vectors that are rounded, half of them to 8 bits and half to 2 or 3 decimals


def roughened(vectors: Tensor, *, share: float, untold: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Unit vectors `[N, D]` of which about `share` are rough now, and the noise of each `[N]`.

    Noise is the standard deviation of a value's error: 0 of those that are exact, NaN of about `untold` of all.
    """
    device = vectors.device
    how, known, much = torch.rand(3, len(vectors), 1, device=device, generator=generator).unbind()
    sigma = LEAST * (MOST / LEAST) ** much
    noisy = vectors + sigma * torch.randn(vectors.shape, device=device, generator=generator)
    level = vectors.abs().amax(1, keepdim=True) / 127
    decimal = torch.where(much < 0.5, 1e-2, 1e-3)
    step = torch.where(how < share * ROUNDED / 2, level, decimal)
    rounded = how < share * ROUNDED
    rough = torch.where(rounded, (vectors / step).round() * step, noisy)
    noise = torch.where(rounded, step * 12**-0.5, sigma)  # a rounding error is uniform over a step
    exact = how >= share
    noise = noise.masked_fill(exact, 0.0).masked_fill(known < untold, torch.nan)
    return torch.where(exact, vectors, rough), noise[:, 0]


def erring(
    vectors: Tensor, errors: Tensor, *, share: float, untold: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Unit vectors `[N, D]` of which about `share` are off by one of `errors` `[M, D]`, times a random size up to 1.

    So is a vector that was mapped here from another embedder's space, whose error a search makes smaller and smaller.
    The noise `[N]` is as in `roughened`.
    """
    device = vectors.device
    how, known, much = torch.rand(3, len(vectors), 1, device=device, generator=generator).unbind()
    which = torch.randint(len(errors), (len(vectors),), device=device, generator=generator)
    off = errors.to(device)[which] * much.masked_fill(how >= share, 0.0)
    noise = off.norm(dim=1) / vectors.shape[1] ** 0.5
    return vectors + off, noise.masked_fill(known[:, 0] < untold, torch.nan)


def features(noise: Tensor) -> Tensor:
    """What the network reads of noise `[N]`, NaN where it isn't known: `[N, 2]`, zeros of exact vectors."""
    unknown = noise.isnan()
    level = (noise / EXACT).clamp_min(1).log().masked_fill(unknown, 0.0)
    return torch.stack([level, 4.0 * unknown], 1)  # of a size with the levels, so that both are learned alike
