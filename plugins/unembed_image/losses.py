"""What a painting is judged by in training: its pixels, a network's features, the black box's student and a critic."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from unembed.errors import InputError
from unembed_image.embedders import FLOOR, ImageEmbedder

__all__ = ["Critic", "Perceptual", "Space", "Student", "balanced", "frozen", "pixel_distance"]

Space = Literal["plain", "log"]


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


class Perceptual:
    """Distances in a frozen network, not the black box: of its last map at each resolution, as LPIPS without weights.

    Every place's features are scaled to length 1 first (Zhang et al. 2018). It isn't a module, so that neither
    optimizer nor checkpoint sees it. `size` replaces the side of the network's inputs, where it takes any.
    """

    def __init__(self, embedder: ImageEmbedder, size: int | None) -> None:
        backbone = embedder.backbone
        self.backbone = backbone if size is None else replace(backbone, size=size)
        self.forward = embedder.forward
        seen: list[tuple[str, torch.Size]] = []
        with torch.no_grad():
            layers = {name: layer for name, layer in self.backbone.model.named_modules() if not _pads(layer)}
            look = torch.rand(1, 3, self.backbone.size, self.backbone.size, device=embedder.device)
            self._hooked(layers, lambda name, out: seen.append((name, out.shape)), look)
        calls = Counter(name for name, _ in seen)
        last = {shape[2:]: name for name, shape in seen if len(shape) == 4 and calls[name] == 1}
        if not last:
            raise InputError(
                f"{embedder.name} has no feature maps to compare images by; choose a convolutional network"
            )
        self.layers = {name: self.backbone.model.get_submodule(name) for name in last.values()}

    def _hooked(self, layers: Mapping[str, nn.Module], keep: Callable[[str, Tensor], Any], pixels: Tensor) -> None:
        def hook(name: str) -> Callable[..., None]:
            return lambda module, given, out: keep(name, out) if isinstance(out, Tensor) else None

        handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
        try:
            self.forward(self.backbone.prepare(pixels))
        finally:
            for handle in handles:
                handle.remove()

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """Features `[N, C, h, w]` of pixels in [0, 1], each place's of length 1."""
        found: dict[str, Tensor] = {}
        self._hooked(self.layers, found.__setitem__, pixels)
        return [F.normalize(found[name].float(), dim=1) for name in self.layers]

    def __call__(self, made: Tensor, signals: Tensor) -> Tensor:
        """The mean over images of squared distances, averaged over places and maps: a scalar."""
        with torch.no_grad():
            wanted = self.maps(signals)
        gaps = [(a - b).pow(2).sum(1).mean() for a, b in zip(self.maps(made), wanted, strict=True)]
        return torch.stack(gaps).mean()


def _pads(layer: nn.Module) -> bool:
    return type(layer).__module__ == "torch.nn.modules.padding"


class Student(nn.Module):
    """A small ResNet that learns, from the queries that training makes anyway, what the black box answers.

    Unlike the black box it may be differentiated through: a painting learns to be seen as the target.
    """

    def __init__(self, dimension: int, space: Space) -> None:
        super().__init__()
        import timm

        self.space = space
        # Group norm: real and painted images share no statistics, and a pass over one changes nothing for the other.
        self.body = timm.create_model(
            "resnet18",
            num_classes=dimension,
            norm_layer=lambda width, **where: nn.GroupNorm(16, width, **where),
            zero_init_last=False,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.body(2 * pixels - 1)
        return found.float()

    def miss(self, said: Tensor, wanted: Tensor) -> Tensor:
        """How far what it said is from embeddings `[N, D]`: 1 − cosine, or the KL divergence of probabilities."""
        if self.space == "log":
            p = wanted.float().clamp_min(FLOOR)
            return (p * (p.log() - said.log_softmax(-1))).sum(-1).mean()
        return 1 - F.cosine_similarity(said, wanted.float(), dim=-1).mean()


class Critic(nn.Module):
    """Tells patches of photographs from painted ones (Isola et al. 2017), under spectral norms (Miyato et al. 2018)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        sides = [(3, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 4 * width, 1)]
        layers: list[nn.Module] = []
        for inside, outside, stride in sides:
            kernel = 4 if stride == 2 else 3
            layers += [spectral_norm(nn.Conv2d(inside, outside, kernel, stride, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(4 * width, 1, 3, 1, 1)))

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.layers(2 * pixels - 1)
        return found.float()

    def miss(self, real: Tensor, painted: Tensor) -> Tensor:
        """The hinge loss by which it learns."""
        return F.relu(1 - self(real)).mean() + F.relu(1 + self(painted)).mean()
