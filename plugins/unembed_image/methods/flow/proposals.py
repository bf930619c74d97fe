"""Candidates of the network: images denoised from pure noise, or again from a hypothesis, steered by the surrogate."""

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional as F

from unembed.devices import bfloat16_is_fast
from unembed_image.codec import levels
from unembed_image.networks.network import ImageNetwork

__all__ = ["corrections", "guesses", "halved", "smoothed", "unit"]

AT_ONCE = {"cpu": 256, "cuda": 1024}  # images made at once
GUESS_STEPS = 8  # denoising steps of a guess
CORRECT_STEPS = 3  # denoising steps of a correction
NUDGES = 2  # steps along the surrogate's gradient after each denoising step
STRIDE = 0.06  # RMS in pixels of the first of them, the levels going from −1 to 1


def guesses(
    network: ImageNetwork, target: Tensor, count: int, generator: torch.Generator | None, steps: int = GUESS_STEPS
) -> Tensor:
    """Images `[N, count, 3, size, size]` for targets `[N, D]`, each denoised from noise of its own."""
    begin = target.new_zeros(len(target), count)
    start = target.new_zeros(len(target), 3, network.size, network.size)
    return _denoised(network, target, start, None, begin, steps, generator)


def corrections(
    network: ImageNetwork,
    target: Tensor,
    hypothesis: Tensor,
    embedding: Tensor,
    begin: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    """Images `[N, count, 3, size, size]`: the hypothesis made noisy, to times `begin` `[N, count]`, and denoised again.

    The surrogate is trusted for changes alone: what it says is shifted so that it is right about the hypothesis, whose
    embedding is known (as Echeverría and Hemker 2005 align a coarse model). The denoiser sees to it that the image
    remains one: gradients alone would find patterns that only the black box takes for the target.
    """
    with torch.no_grad(), halved(hypothesis):
        shift = network.residual(network.predict(hypothesis), embedding)
    return _denoised(network, target, hypothesis, shift, begin, CORRECT_STEPS, generator)


@torch.no_grad()
def _denoised(
    network: ImageNetwork,
    target: Tensor,
    start: Tensor,
    shift: Tensor | None,
    begin: Tensor,
    steps: int,
    generator: torch.Generator | None,
) -> Tensor:
    count = begin.shape[1]
    if generator is None:
        generator = torch.Generator(start.device).manual_seed(0)
    noise = torch.randn(len(start) * count, *start.shape[1:], device=start.device, generator=generator)
    rows = [repeat(x, "n ... -> (n k) ...", k=count) for x in (target, start, shift) if x is not None]
    rows += [begin.flatten(), noise]
    most = AT_ONCE.get(target.device.type, 256)
    parts = []
    for part in zip(*(x.split(most) for x in rows), strict=True):
        wanted, image, *known, began, noisy = part
        parts.append(_flow(network, wanted, image, known[0] if known else None, began, noisy, steps))
    made: Tensor = torch.cat(parts).unflatten(0, begin.shape)
    return made


def _flow(
    network: ImageNetwork,
    target: Tensor,
    start: Tensor,
    shift: Tensor | None,
    begin: Tensor,
    noise: Tensor,
    steps: int,
) -> Tensor:
    """Euler's method along the flow; where it leads is nudged by the surrogate at each step (He et al. 2024)."""
    wanted, now = network.normalize(target), begin
    x = _wide(now) * (2 * start - 1) + (1 - _wide(now)) * noise
    for step in range(steps):
        with halved(x):
            clean = network.denoiser(x, now, wanted).clamp(-1, 1)
        clean = _nudged(network, clean, target, shift, 1 - step / steps)
        then = begin + (1 - begin) * (step + 1) / steps
        x = x + _wide((then - now) / (1 - now).clamp_min(1e-6)) * (clean - x)
        now = then
    return levels((x + 1) / 2)


def _nudged(network: ImageNetwork, clean: Tensor, target: Tensor, shift: Tensor | None, strength: float) -> Tensor:
    for step in range(NUDGES):
        with torch.enable_grad():
            clean = clean.requires_grad_()
            with halved(clean):
                said = network.predict((clean + 1) / 2)
            missed = network.loss(said if shift is None else said + shift, target).sum()
            (gradient,) = torch.autograd.grad(missed, clean)
        stride = strength * (1 - step / NUDGES) * STRIDE
        clean = (clean.detach() - stride * unit(smoothed(gradient.float()))).clamp(-1, 1)
    return clean


def _wide(rows: Tensor) -> Tensor:
    return rows[:, None, None, None]


def halved(like: Tensor) -> torch.autocast:
    """Half precision where the device of `like` is faster with it."""
    return torch.autocast(like.device.type, torch.bfloat16, enabled=bfloat16_is_fast(like.device))


def smoothed(gradient: Tensor) -> Tensor:
    """The gradient of an image held as a pyramid of resolutions: what it says about shapes isn't lost among pixels."""
    found = coarse = gradient
    while min(coarse.shape[2:]) > 4:
        coarse = F.avg_pool2d(coarse, 2)
        found = found + F.interpolate(coarse, gradient.shape[2:], mode="bilinear")
    return found


def unit(images: Tensor) -> Tensor:
    """Images `[N, 3, H, W]` scaled to an RMS of 1."""
    return images / images.pow(2).mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
