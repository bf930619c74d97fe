"""How near a reconstruction comes: in pixels (SSIM, PSNR), to a classifier, and among all the originals."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

import unembed
from unembed.contract.embedder import Embedder
from unembed.contract.metric import Metric
from unembed.contract.similarity import cosine
from unembed.defaults import ACCELERATOR_CHUNK_SIZE, CHUNK_SIZE
from unembed.inversion.bootstrap import mean
from unembed_image.codec import ImageCodec
from unembed_image.embedders.base import ImageEmbedder, distribution, divergence, same_classes

__all__ = ["Agreement", "Divergence", "Look", "Pixels", "Psnr", "Retrieval", "Ssim", "image_metrics"]

ROUNDING = 10 * math.log10(12 * 255**2)  # dB: the PSNR of an image against itself before it was rounded to 8 bits


class Recent(ABC):
    """A function of images that remembers its last two results: several measures ask for the same images."""

    def __init__(self) -> None:
        self.known: list[tuple[Sequence[Any], Tensor]] = []

    def __call__(self, images: Sequence[Any]) -> Tensor:
        """A row for each of the images."""
        found = next((rows for known, rows in self.known if known is images), None)
        if found is None:
            found = self.rows(images)
        # Originals stay, whose reconstructions change.
        self.known = [(images, found), *(pair for pair in self.known if pair[0] is not images)][:2]
        return found

    @abstractmethod
    def rows(self, images: Sequence[Any]) -> Tensor:
        """What is remembered."""


class Pixels(Recent):
    """Images to pixels `[N, 3, H, W]`."""

    def __init__(self, codec: ImageCodec) -> None:
        super().__init__()
        self.codec = codec

    def rows(self, images: Sequence[Any]) -> Tensor:
        return self.codec.encode(images)


class Look(Recent):
    """An embedder to measure by, images to embeddings `[N, D]`: loaded when first needed."""

    def __init__(self, pixels: Pixels, load: Callable[[], Embedder]) -> None:
        super().__init__()
        self.pixels, self.load = pixels, cache(load)

    def rows(self, images: Sequence[Any]) -> Tensor:
        embedder = self.load()
        chunk = CHUNK_SIZE if embedder.device.type == "cpu" else ACCELERATOR_CHUNK_SIZE
        return torch.cat([embedder.embed(part) for part in self.pixels(images).split(chunk)])


class ImageMetric(Metric):
    """The mean of one number an image."""

    def column(self, values: Tensor) -> Tensor:
        """`[N]` values as counts `[N, 2]`."""
        values = values.double().cpu()
        return torch.stack([values, torch.ones_like(values)], 1)

    def aggregate(self, sums: Tensor) -> float:
        return mean(sums)


class Ssim(ImageMetric):
    """Structural similarity, −1 to 1 (Wang et al. 2004), by torchmetrics with its defaults."""

    def __init__(self, pixels: Pixels, device: torch.device | str = "cpu") -> None:
        self.pixels, self.device = pixels, device

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        a, b = (self.pixels(images).to(self.device) for images in (references, reconstructions))
        values = [ssim(y, x, data_range=1.0, reduction="none").reshape(-1) for x, y in _chunks(a, b)]
        return self.column(torch.cat(values))


class Psnr(ImageMetric):
    """Peak signal-to-noise ratio in dB by torchmetrics; equal images count as the rounding to 8 bits, 58.9 dB."""

    def __init__(self, pixels: Pixels, device: torch.device | str = "cpu") -> None:
        self.pixels, self.device = pixels, device

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        from torchmetrics.functional.image import peak_signal_noise_ratio as psnr

        a, b = (self.pixels(images).to(self.device) for images in (references, reconstructions))
        values = psnr(b, a, data_range=1.0, reduction="none", dim=(1, 2, 3))
        return self.column(values.clamp_max(ROUNDING))


class Agreement(ImageMetric):
    """The share of reconstructions, 0 to 1, of which the classifier's `top` classes hold its first of the original."""

    def __init__(self, classifier: Look, top: int) -> None:
        self.classifier, self.top = classifier, top

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        a, b = self.classifier(references), self.classifier(reconstructions)
        return self.column((b.topk(min(self.top, b.shape[1])).indices == a.argmax(1, keepdim=True)).any(1))


class Divergence(ImageMetric):
    """KL(original‖reconstruction) of a classifier's probabilities, in nats."""

    lowest_best: ClassVar[bool] = True

    def __init__(self, classifier: Look) -> None:
        self.classifier = classifier

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        return self.column(divergence(self.classifier(references), self.classifier(reconstructions)))


class Retrieval(ImageMetric):
    """The share of reconstructions, 0 to 1, whose original is among the `top` nearest of the N, strictly.

    Of few images it must be among the nearer half, or the measure could not fail.
    """

    def __init__(self, look: Look, top: int) -> None:
        self.look, self.top = look, top

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        a, b = self.look(references), self.look(reconstructions)
        similarity = self.look.load().similarity
        ranks = []
        for start in range(0, len(b), CHUNK_SIZE):
            near = _all_pairs(similarity, a, b[start : start + CHUNK_SIZE])  # [chunk, N]
            place = torch.arange(len(near), device=near.device)
            own = near[place, start + place][:, None]
            ranks.append((near >= own).sum(1) - 1)  # it is as near as itself
        return self.column(torch.cat(ranks) < min(self.top, max(1, len(a) // 2)))


def _all_pairs(similarity: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """How near every row of b `[M, D]` is to every row of a `[N, D]`: float64 `[M, N]`, ranked as by similarity."""
    if similarity is cosine:
        return F.normalize(b.double(), dim=-1) @ F.normalize(a.double(), dim=-1).T
    if similarity is same_classes:
        p, q = (distribution(x) for x in (b, a))
        return p @ q.log().T - (p * p.log()).sum(-1, keepdim=True)
    return torch.stack([similarity(row.expand_as(a), a) for row in b]).double()


def image_metrics(codec: ImageCodec, embedder: ImageEmbedder, independent: str | None = None) -> dict[str, Metric]:
    """Those of an inverter; `independent` names an embedder to measure by too. Classes count where there is a judge."""
    # A black box of its own, so that measuring isn't counted as the search's queries.
    own = ImageEmbedder(
        embedder.backbone,
        embedder.forward,
        name=embedder.name,
        device=embedder.device,
        similarity=embedder.similarity,
    )
    pixels = Pixels(codec)
    found: dict[str, Metric] = {"ssim": Ssim(pixels, embedder.device), "psnr": Psnr(pixels, embedder.device)}
    looks = {"retrieval": Look(pixels, lambda: own)}
    if independent is not None:
        looks["independent"] = Look(pixels, lambda: unembed.load_embedder(independent, device=embedder.device))
    for name, look in looks.items():
        found |= {f"{name}_top{top}": Retrieval(look, top) for top in (1, 10)}
    judge = embedder.judge
    if judge is not None:
        classes = Look(pixels, lambda: judge)
        found |= {f"agreement_top{top}": Agreement(classes, top) for top in (1, 5)}
        found["kl"] = Divergence(classes)
    return found


def _chunks(a: Tensor, b: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(a.split(CHUNK_SIZE), b.split(CHUNK_SIZE), strict=True))
