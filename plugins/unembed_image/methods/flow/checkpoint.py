"""The networks as hypothesizer and corrector, bundled with the black box, the codec and the measures."""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

import unembed
from unembed.checkpoints.manifest import EmbedderEntry, Storage, network_config
from unembed.checkpoints.tensors import check_fit
from unembed.contract.embedder import Embedder
from unembed.contract.proposers import Corrector, Hypothesizer
from unembed.engine import moves
from unembed_image.codec import ImageCodec
from unembed_image.embedders.base import ImageEmbedder
from unembed_image.methods.flow.edits import Edit
from unembed_image.methods.flow.proposals import corrections, guesses
from unembed_image.metrics import image_metrics
from unembed_image.networks.convert import migrate_names
from unembed_image.networks.denoiser import MULTIPLE
from unembed_image.networks.network import ImageNetwork, Space

__all__ = ["build_inverter", "image_embedder", "open_checkpoint", "save_network"]

# Corrections climb fastest at first, edits go on where they stall; good first guesses stay ahead to the end.
# The editor draws its edits anew each time: no more are asked for than are tried.
EFFORTS = {
    "low": unembed.Effort(
        start=moves.Guess(count=4), moves=(moves.Correct(count=2),), beam=2, limits=unembed.Limits(steps=2)
    ),
    "medium": unembed.Effort(
        start=moves.Guess(count=16),
        moves=(moves.Correct(count=8), moves.Combine(count=32, oversample=1)),
        beam=1,
        limits=unembed.Limits(steps=5),
    ),
    "high": unembed.Effort(
        start=moves.Guess(count=32),
        moves=(moves.Correct(count=8), moves.Combine(count=64, oversample=1)),
        beam=1,
        limits=unembed.Limits(steps=20, patience=6, max_queries=5000),
    ),
    "max": unembed.Effort(
        start=moves.Guess(count=64),
        moves=(moves.Correct(count=16), moves.Combine(count=320, oversample=1)),
        beam=1,
        limits=unembed.Limits(steps=20, patience=6, max_queries=10_000),
    ),
}
# What edits gain with CLIP's embeddings makes an image less like the original to others.
CLIP_EFFORTS = EFFORTS | {
    "medium": unembed.Effort(
        start=moves.Guess(count=8), moves=(moves.Correct(count=4),), beam=2, limits=unembed.Limits(steps=8)
    )
}
LEAST, MOST = 0.97, 0.8  # times at which the first and the last candidate of a correction begin


class Guess(Hypothesizer):
    """Images of the target, each denoised from noise of its own."""

    def __init__(self, network: ImageNetwork) -> None:
        self.network = network

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return guesses(self.network, target, count, generator)


class Correct(Corrector):
    """The hypothesis, made noisy and denoised again: a little for the first candidate, more for the next."""

    def __init__(self, network: ImageNetwork) -> None:
        self.network = network

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        begin = torch.linspace(LEAST, MOST, count, device=target.device).expand(len(target), -1)
        return corrections(self.network, target, hypothesis, embedding, begin, generator)


def image_embedder(given: Any, device: torch.device | str) -> ImageEmbedder:
    """The embedder of that name, or the given one; raises InputError unless it is one of this plugin's."""
    found: Embedder = unembed.load_embedder(given, device=device) if isinstance(given, str) else given
    if not isinstance(found, ImageEmbedder):
        what, takes = (getattr(found, name, type(found).__name__) for name in ("name", "modality"))
        raise unembed.InputError(f"embedder {what!r} takes {takes}, not images from this plugin's embedders")
    return found


def build_inverter(
    name: str, network: ImageNetwork, embedder: ImageEmbedder, independent: str | None = None
) -> unembed.Inverter:
    """Bundle the parts; `independent` names another embedder to measure by."""
    codec = ImageCodec(network.size)
    return unembed.Inverter(
        name=name,
        embedder=embedder,
        hypothesizer=Guess(network),
        corrector=Correct(network),
        codec=codec,
        editor=Edit(network),
        metrics=image_metrics(codec, embedder, independent),
        efforts=CLIP_EFFORTS if embedder.normalized else EFFORTS,
    )


class ImageShape(unembed.Config):
    """A manifest's `config`."""

    dimension: int = Field(gt=0, le=2**20)
    size: int = Field(ge=16, le=4_096, multiple_of=MULTIPLE)
    width: int = Field(ge=64, le=65_536, multiple_of=64)
    depth: int = Field(gt=0, le=1_000)
    channels: int = Field(gt=0, le=65_536)
    space: Space = "plain"


def open_checkpoint(
    folder: Path, manifest: unembed.Manifest, device: torch.device, embedder: Any = None
) -> unembed.Inverter:
    """The inverter of a checkpoint folder; raises CheckpointError."""
    shape = network_config(ImageShape, manifest, folder).model_dump()
    tensors = migrate_names(unembed.load_checkpoint(folder, manifest)[1])
    check_fit(lambda: ImageNetwork(**shape), tensors, folder)
    network = ImageNetwork(**shape)
    network.load_state_dict(tensors)
    box = image_embedder(manifest.embedder.name if embedder is None else embedder, device)
    return build_inverter(manifest.name, network.to(device).eval(), box, manifest.embedder.independent)


def save_network(
    folder: Path,
    network: ImageNetwork,
    embedder: ImageEmbedder,
    *,
    name: str,
    config: dict[str, Any],
    training: dict[str, Any],
    independent: str | None,
    storage: Storage,
) -> None:
    """Write a checkpoint that `unembed.load` opens."""
    manifest = unembed.Manifest(
        modality="image",
        method="flow",
        name=name,
        summary=f"images of {network.size} × {network.size} pixels from {embedder.name}",
        config=config,
        embedder=EmbedderEntry(name=embedder.name, independent=independent),
        training=training,
    )
    inverter = build_inverter(name, network, embedder)
    unembed.save_checkpoint(folder, network.state_dict(), manifest, inverter=inverter, storage=storage)
