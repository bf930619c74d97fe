"""How near a reconstruction comes: in pixels (SSIM, PSNR), to a classifier, and among all the originals."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unembed.defaults import CHUNK_SIZE
from unembed.interfaces import Embedder
from unembed.metrics import Metric, mean
from unembed_image.codec import ImageCodec
from unembed_image.embedders import ImageEmbedder

__all__ = ["Agreement", "Psnr", "Retrieval", "Ssim", "image_metrics"]

ROUNDING = 10 * math.log10(12 * 255**2)  # dB: the PSNR of an image against itself before it was rounded to 8 bits


class ImageMetric(Metric):
    """The mean of one number an image."""

    def __init__(self, codec: ImageCodec) -> None:
        self.codec = codec

    def column(self, values: Tensor) -> Tensor:
        """`[N]` values as counts `[N, 2]`."""
        values = values.double().cpu()
        return torch.stack([values, torch.ones_like(values)], 1)

    def aggregate(self, sums: Tensor) -> float:
        return mean(sums)


class Ssim(ImageMetric):
    """Structural similarity, −1 to 1 (Wang et al. 2004), by torchmetrics with its defaults."""

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        a, b = self.codec.encode(references), self.codec.encode(reconstructions)
        values = [ssim(y, x, data_range=1.0, reduction="none").reshape(-1) for x, y in _chunks(a, b)]
        return self.column(torch.cat(values))


class Psnr(ImageMetric):
    """Peak signal-to-noise ratio in dB by torchmetrics; equal images count as the rounding to 8 bits, 58.9 dB."""

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        from torchmetrics.functional.image import peak_signal_noise_ratio as psnr

        a, b = self.codec.encode(references), self.codec.encode(reconstructions)
        values = psnr(b, a, data_range=1.0, reduction="none", dim=(1, 2, 3))
        return self.column(values.clamp_max(ROUNDING))


class Agreement(ImageMetric):
    """The share of reconstructions, 0 to 1, of which the classifier's `top` classes hold its first of the original."""

    def __init__(self, codec: ImageCodec, classifier: Embedder, top: int) -> None:
        super().__init__(codec)
        self.classifier, self.top = classifier, top

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        a, b = (_embedded(self.classifier, self.codec, images) for images in (references, reconstructions))
        return self.column((b.topk(min(self.top, b.shape[1])).indices == a.argmax(1, keepdim=True)).any(1))


class Retrieval(ImageMetric):
    """The share of reconstructions, 0 to 1, that are nearer to their own original than to any other of the N."""

    def __init__(self, codec: ImageCodec, embedder: Embedder) -> None:
        super().__init__(codec)
        self.embedder = embedder

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        a, b = (_embedded(self.embedder, self.codec, images) for images in (references, reconstructions))
        near = torch.stack([self.embedder.similarity(row.expand_as(a), a) for row in b])
        own = near.diagonal()[:, None]
        others = near.masked_fill(torch.eye(len(a), dtype=torch.bool, device=near.device), -torch.inf)
        return self.column((others < own).all(1))


def image_metrics(codec: ImageCodec, embedder: ImageEmbedder) -> dict[str, Metric]:
    """Those of an inverter; agreement where the embedder comes from a classifier."""
    # A black box of its own, so that measuring isn't counted as the search's queries.
    own = ImageEmbedder(
        embedder.backbone,
        embedder.forward,
        name=embedder.name,
        device=embedder.device,
        similarity=embedder.similarity,
    )
    found: dict[str, Metric] = {"ssim": Ssim(codec), "psnr": Psnr(codec), "retrieval_top1": Retrieval(codec, own)}
    if embedder.judge is not None:
        found |= {f"agreement_top{top}": Agreement(codec, embedder.judge, top) for top in (1, 5)}
    return found


def _embedded(embedder: Embedder, codec: ImageCodec, images: Sequence[Any]) -> Tensor:
    return torch.cat([embedder.embed(part) for part in codec.encode(images).split(CHUNK_SIZE)])


def _chunks(a: Tensor, b: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(a.split(CHUNK_SIZE), b.split(CHUNK_SIZE), strict=True))
