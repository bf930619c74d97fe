"""Training an image inverter: pictures from folders or parquet files, and the network that learns to paint them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from unembed.checkpoint import Storage
from unembed.config import Config, parse
from unembed.errors import ConfigError
from unembed.inverter import Inverter
from unembed.training.recipe import Recipe
from unembed_image.codec import ImageCodec
from unembed_image.files import read_images
from unembed_image.inverters import build_inverter, image_embedder, save_network
from unembed_image.losses import Perceptual, Space
from unembed_image.network import ImageNetwork
from unembed_image.objective import ImageObjective, Shares

__all__ = ["ImageRecipe", "ImageRecipeConfig"]

RESIDENT = 8_000_000_000  # bytes of training images, up to which they are held on the device


class ImageRecipeConfig(Config):
    """The `[recipe]` table."""

    name: str = Field(description="of the inverter")
    embedder: str = Field(description="the black box: `clip:…`, `features:…`, `probs:…` or `efficientnet-lite0`")
    train: list[Path] = Field(min_length=1, description="folders of images, or .parquet files with a column `image`")
    validation: list[Path] = Field(min_length=1)
    held_out: int = Field(64, gt=0, description="validation images measured during training")
    size: int = Field(64, ge=16, description="side of a signal in pixels")
    patch: int = Field(8, gt=0, description="side of a patch in pixels; divides `size`")
    width: int = Field(384, gt=0, description="of the transformer")
    layers: int = Field(8, gt=0)
    heads: int = Field(6, gt=0, description="divides `width`")
    tokens: int = Field(4, gt=0, description="the transformer reads an embedding as so many")
    noise: int = Field(32, gt=0, description="numbers in the latent noise")
    draws: int = Field(3, ge=1, description="paintings an example, of which the best learns")
    space: Space = Field("plain", description="`log` for class probabilities")
    pixel: float = Field(1.0, ge=0, description="share in the gradient of distances in pixels")
    perceptual: float = Field(0.0, ge=0, description="share of distances in the features of `features`")
    student: float = Field(0.0, ge=0, description="share of the embedding, through a student of the black box")
    critic: float = Field(0.0, ge=0, description="share of a critic that tells photographs from paintings")
    features: str | None = Field(None, description="an embedder, not the black box, for `perceptual`")
    features_size: int | None = Field(None, gt=0, description="side of its inputs, where it takes any")
    independent: str | None = Field(None, description="another embedder, by which results are measured too")
    batch: int = Field(128, gt=0)
    shift: int = Field(4, ge=0, description="pixels that a training image is moved by at most, each way")
    storage: Storage = "float16"
    device: str
    seed: int


class ImageRecipe(Recipe):
    """See `unembed.Recipe`. All training images are held in memory, as bytes at the inverter's resolution."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = config = parse(ImageRecipeConfig, options, "[recipe]")
        if config.size % config.patch or config.width % config.heads:
            raise ConfigError(
                f"[recipe]: patch must divide size and heads width: {config.patch}, {config.size}, {config.heads}, "
                f"{config.width}"
            )
        if not (config.pixel or config.perceptual or config.student):
            raise ConfigError(
                "[recipe]: one of pixel, perceptual and student must be above 0: a critic knows no target"
            )
        if config.perceptual and config.features is None:
            raise ConfigError("[recipe]: perceptual above 0 needs features, the name of an embedder")
        if config.features == config.embedder:
            raise ConfigError(f"[recipe]: features must name another network than the black box, {config.embedder}")
        torch.manual_seed(config.seed)
        self.embedder = image_embedder(config.embedder, config.device)
        self.codec = ImageCodec(config.size)
        images = self.codec.encode_uint8([image for path in config.train for image in read_images(path)])
        self.images = images.to(config.device) if images.nbytes <= RESIDENT else images
        names = ("size", "patch", "width", "layers", "heads", "tokens", "noise", "space")
        self.config = {"dimension": self.embedder.dimension, **{name: getattr(config, name) for name in names}}
        self.painter = ImageNetwork(**self.config)
        judge = None
        if config.perceptual and config.features is not None:
            judge = Perceptual(image_embedder(config.features, config.device), config.features_size)
        shares = Shares(config.pixel, config.perceptual, config.student, config.critic)
        objective = ImageObjective(self.painter, draws=config.draws, shares=shares, perceptual=judge)
        self.network = objective.to(config.device)

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        found = []
        for _ in range(count):
            pick = torch.randint(len(self.images), (self.options.batch,), generator=generator)
            mirrored = torch.rand(self.options.batch, generator=generator) < 0.5
            pixels, mirrored = self.images[pick.to(self.images.device)], mirrored.to(self.images.device)
            pixels[mirrored] = pixels[mirrored].flip(-1)
            found.append(self._moved(pixels.float() / 255, generator))
        return found

    def _moved(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Each image a few whole pixels aside, its edges reflected: what is seen twice is never quite the same."""
        reach, size = self.options.shift, self.options.size
        wide = F.pad(pixels, (reach,) * 4, mode="reflect")
        start = torch.randint(2 * reach + 1, (2, len(pixels), 1), generator=generator)
        rows, columns = (start + torch.arange(size)).to(pixels.device)
        image, channel = torch.arange(len(pixels))[:, None, None, None], torch.arange(3)[:, None, None]
        return wide[image.to(pixels.device), channel.to(pixels.device), rows[:, None, :, None], columns[:, None, None]]

    def embed(self, signals: Tensor) -> Tensor:
        """Half precision on an accelerator: a large model's forward passes are what training waits for."""
        with torch.autocast("cuda", torch.bfloat16, enabled=self.embedder.device.type == "cuda"):
            return self.embedder.embed(signals)

    def scalars(self) -> dict[str, float]:
        return self.network.tally.read()

    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        # From the first candidate to the boldest: what a beam holds.
        warmth = torch.rand(len(target), 1, device=target.device, generator=generator)
        return self.painter.write(target, hypothesis, embedding, warmth, generator)[:, 0]

    def compile(self) -> None:
        for block in self.painter.blocks:
            block.compile()

    def inverter(self) -> Inverter:
        return build_inverter(self.options.name, self.painter, self.embedder, self.options.independent)

    def held_out(self) -> list[tuple[str, list[Any]]]:
        images = [image for path in self.options.validation for image in read_images(path)]
        return [("images", self.codec.decode(self.codec.encode(images[: self.options.held_out])))]

    def save(self, folder: Path, training: dict[str, Any], quality: dict[str, Any]) -> None:
        save_network(
            folder,
            self.painter,
            self.embedder,
            name=self.options.name,
            config=self.config,
            training=training,
            quality=quality,
            independent=self.options.independent,
            storage=self.options.storage,
        )

    def flops(self, signals: Tensor, corrected: bool) -> float:
        network, draws = self.painter, self.options.draws
        tokens = network.side**2 + len(network.kinds)
        weights = tokens * sum(p.numel() for p in network.blocks.parameters()) + sum(
            p.numel() for p in network.read.parameters()
        )
        passes = 6 + (2 * draws if draws > 1 else 0)  # the draws are only looked at; helpers are left out
        return float(passes * weights * len(signals))
