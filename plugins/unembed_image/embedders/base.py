"""Black boxes over pixels: each resizes and normalises as its model was trained, and is only ever called forward."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from einops import reduce
from torch import Tensor, nn
from torch.nn import functional as F

from unembed.contract.embedder import Embedder
from unembed.contract.similarity import Similarity, cosine
from unembed.errors import InputError

__all__ = [
    "FLOOR",
    "Backbone",
    "ImageEmbedder",
    "Pool",
    "distribution",
    "divergence",
    "features",
    "probabilities",
    "same_classes",
]

# Images that go through a model at once: at 224 pixels 64 take some hundred MB.
AT_ONCE = {"cpu": 64, "cuda": 256}
FLOOR = 1e-8  # a class probability below this counts as this
Pool = Literal["mean", "none"]


@dataclass(frozen=True)
class Backbone:
    """A model and what it expects: RGB of `size` × `size` pixels, less `mean`, divided by `std`."""

    model: nn.Module
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bicubic: bool = True

    def prepare(self, pixels: Tensor) -> Tensor:
        """Pixels `[N, 3, H, W]` in [0, 1] as the model's inputs `[N, 3, size, size]`."""
        if pixels.shape[2:] != (self.size, self.size):
            mode = "bicubic" if self.bicubic else "bilinear"
            pixels = F.interpolate(pixels, (self.size, self.size), mode=mode, antialias=True).clamp(0, 1)
        mean, std = (pixels.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        made: Tensor = (pixels - mean) / std
        return made.contiguous(memory_format=torch.channels_last) if made.is_cuda else made


def distribution(rows: Tensor) -> Tensor:
    """Rows of class probabilities in float64, none below `FLOOR`, each adding up to 1."""
    p = rows.double().clamp_min(FLOOR)
    return p / p.sum(-1, keepdim=True)


def divergence(a: Tensor, b: Tensor) -> Tensor:
    """KL(a‖b) of rows of class probabilities in nats, float64 `[N]`."""
    p, q = distribution(a), distribution(b)
    return (p * (p.log() - q.log())).sum(-1).clamp_min(0)


def same_classes(a: Tensor, b: Tensor) -> Tensor:
    """exp(−KL(a‖b)) of rows of class probabilities, float32 `[N]`: 1 for equal ones, towards 0 as they part.

    Cosine would hardly see anything but the likeliest class.
    """
    return divergence(a, b).neg().exp().float()


class ImageEmbedder(Embedder):
    """Any function of a backbone's inputs. `judge`, where there is one, is the model's classifier, to measure by."""

    def __init__(
        self,
        backbone: Backbone,
        forward: Callable[[Tensor], Tensor],
        *,
        name: str,
        device: torch.device,
        normalized: bool = False,
        similarity: Similarity = cosine,
        judge: "ImageEmbedder | None" = None,
    ) -> None:
        # On an accelerator convolutions like channels last; on a CPU it may change the last digits for nothing.
        layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
        moved: nn.Module = backbone.model.to(device).to(memory_format=layout)
        model = moved.eval().requires_grad_(False)
        backbone = replace(backbone, model=model)
        self.backbone, self.forward, self.judge = backbone, forward, judge
        with torch.inference_mode():
            width = forward(backbone.prepare(torch.zeros(1, 3, backbone.size, backbone.size, device=device))).shape[1]
        super().__init__(
            name=name, modality="image", dimension=width, normalized=normalized, device=device, similarity=similarity
        )

    def _embed(self, signals: Tensor) -> Tensor:
        parts = signals.split(AT_ONCE.get(self.device.type, 64))
        return torch.cat([self.forward(self.backbone.prepare(part)) for part in parts])


def probabilities(backbone: Backbone, *, name: str, device: torch.device) -> ImageEmbedder:
    """A classifier's softmax, `[N, classes]`, compared by `same_classes`."""

    def forward(inputs: Tensor) -> Tensor:
        found: Tensor = backbone.model(inputs).float().softmax(-1)
        return found

    judge = ImageEmbedder(backbone, forward, name=name, device=device)  # its queries aren't those of a search
    return ImageEmbedder(backbone, forward, name=name, device=device, similarity=same_classes, judge=judge)


def features(backbone: Backbone, layer: str, pool: Pool, *, name: str, device: torch.device) -> ImageEmbedder:
    """What `layer`, a name among the model's `named_modules`, gives out, averaged over places or flattened."""
    known = dict(backbone.model.named_modules())
    if not layer or layer not in known:
        some = ", ".join(key for key in known if key and key.count(".") < 2)
        raise InputError(f"{name}: the model has no layer {layer!r}; it has {some} and what is inside them")
    heard: list[object] = []
    plain = known[layer].forward

    def listening(*args: Any, **kwargs: Any) -> Any:
        heard[:] = [plain(*args, **kwargs)]
        return heard[0]

    known[layer].forward = listening  # a model compiled while it had no hook would pass a later one over

    def forward(inputs: Tensor) -> Tensor:
        heard.clear()
        backbone.model(inputs)
        out = heard.pop() if heard else None
        if not isinstance(out, Tensor) or out.ndim < 2 or len(out) != len(inputs):
            raise InputError(f"{name}: layer {layer!r} doesn't return a tensor with one row per image; choose another")
        if pool == "none" or out.ndim == 2:
            return out.flatten(1)
        # Channels come first in feature maps [N, C, H, W] and last in tokens [N, L, C].
        return reduce(out, "n c h w -> n c", "mean") if out.ndim == 4 else reduce(out, "n l c -> n c", "mean")

    judge = probabilities(backbone, name=name, device=device)
    return ImageEmbedder(backbone, forward, name=name, device=device, judge=judge)
