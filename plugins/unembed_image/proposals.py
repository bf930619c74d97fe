"""Candidates of the network: paintings of targets like the target, and images improved through the student."""

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional as F

from unembed_image.codec import levels
from unembed_image.network import ImageNetwork

__all__ = ["corrections", "guesses", "smooth_noise"]

AT_ONCE = {"cpu": 256, "cuda": 1024}  # images made at once
SPREAD = 0.8  # of a changed target from the target, in units of its RMS, for a guess of warmth 1
INNER = 5  # gradient steps of a correction
STRIDE = 0.04  # RMS in pixels of the first of them, the levels going from 0 to 1
BOLD = 0.8  # standard deviation of the logarithm of a stride of warmth 1
HOLD = 1.0  # pull of a gradient step towards the painting's colours, over how far they are
TINT = 0.08  # of the smooth noise that a correction of warmth 1 starts with


@torch.no_grad()
def guesses(network: ImageNetwork, target: Tensor, warmth: Tensor, generator: torch.Generator | None) -> Tensor:
    """Paintings `[N, count, 3, size, size]` of targets `[N, D]`, changed the more the greater `warmth` `[N, count]` is.

    An embedding of a photograph is one of many that it might have had: near targets give other plausible images.
    """
    changes = torch.randn(*warmth.shape, network.dimension, device=target.device, generator=generator)
    rows = repeat(target, "n d -> (n k) d", k=warmth.shape[1]), (SPREAD * changes * warmth[..., None]).flatten(0, 1)
    most = AT_ONCE.get(target.device.type, 256)
    with _half(target):
        parts = [levels(network(*part)) for part in zip(*(x.split(most) for x in rows), strict=True)]
    return torch.cat(parts).unflatten(0, warmth.shape)


@torch.no_grad()
def corrections(
    network: ImageNetwork,
    target: Tensor,
    hypothesis: Tensor,
    embedding: Tensor,
    warmth: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    """Images `[N, count, 3, size, size]` that the student sees nearer to the target than the hypothesis.

    The student is trusted for changes alone: what it says is shifted so that it is right about the hypothesis, whose
    embedding is known (as Echeverría and Hemker 2005 align a coarse model). The strides differ by `warmth`, and the
    black box judges which were worth it. Each step holds colours near the painting's: it's the details that a painting
    lacks, and gradients alone would in the end burn all colours out.
    """
    count = warmth.shape[1]
    shift = network.error(embedding, _said(network, hypothesis))
    draw = torch.randn(warmth.shape, device=target.device, generator=generator)
    strides = STRIDE * (BOLD * warmth * draw).exp()
    images = repeat(hypothesis, "n ... -> (n k) ...", k=count)
    noise = smooth_noise(images, 3, 4, generator)
    images = (images + TINT * warmth.flatten()[:, None, None, None] * noise).clamp(0, 1)
    painting = guesses(network, target, torch.zeros_like(warmth[:, :1]), generator)[:, 0]
    known = (repeat(x, "n ... -> (n k) ...", k=count) for x in (painting, target, shift))
    rows = [images, *known, strides.flatten()]
    most = AT_ONCE.get(target.device.type, 256)
    parts = [_improved(network, *part) for part in zip(*(x.split(most) for x in rows), strict=True)]
    return torch.cat(parts).unflatten(0, warmth.shape)


def _improved(
    network: ImageNetwork, images: Tensor, painting: Tensor, target: Tensor, shift: Tensor, strides: Tensor
) -> Tensor:
    for step in range(INNER):
        with torch.enable_grad():
            images = images.requires_grad_()
            missed = network.miss(network.place(_said(network, images)) + shift, target).sum()
            (gradient,) = torch.autograd.grad(missed, images)
        gradient = _smoothed(gradient.float())
        length = gradient.pow(2).mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
        images = images.detach()
        way = gradient / length + HOLD * _coarse(images - painting)
        images = (images - (1 - step / INNER) * strides[:, None, None, None] * way).clamp(0, 1)
    return levels(images)


def _said(network: ImageNetwork, images: Tensor) -> Tensor:
    with _half(images):
        found: Tensor = network.student(images)
    return found


def _half(like: Tensor) -> torch.autocast:
    return torch.autocast("cuda", torch.bfloat16, enabled=like.is_cuda)


def _coarse(images: Tensor) -> Tensor:
    """Images with nothing left but colours on a coarse grid."""
    return F.interpolate(F.adaptive_avg_pool2d(images, 4), images.shape[2:], mode="bilinear")


def _smoothed(gradient: Tensor) -> Tensor:
    """The gradient of an image held as a pyramid of resolutions: what it says about shapes isn't lost among pixels."""
    found = coarse = gradient
    while min(coarse.shape[2:]) > 4:
        coarse = F.avg_pool2d(coarse, 2)
        found = found + F.interpolate(coarse, gradient.shape[2:], mode="bilinear")
    return found


def smooth_noise(like: Tensor, channels: int, grid: int, generator: torch.Generator | None) -> Tensor:
    """Normal noise on a coarse grid, enlarged: `[N, channels, H, W]` for images `[N, 3, H, W]`."""
    noise = torch.randn(len(like), channels, grid, grid, device=like.device, generator=generator)
    return F.interpolate(noise, like.shape[2:], mode="bicubic", align_corners=False)
