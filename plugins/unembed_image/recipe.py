"""Training an image inverter: pictures from folders or parquet files, and the network that learns to paint them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from unembed.checkpoint import Storage
from unembed.config import Config, parse
from unembed.errors import ConfigError
from unembed.inverter import Inverter
from unembed.training.recipe import Recipe
from unembed_image.codec import ImageCodec
from unembed_image.files import read_images
from unembed_image.inverters import build_inverter, image_embedder, save_network
from unembed_image.network import ImageNetwork

__all__ = ["ImageRecipe", "ImageRecipeConfig"]


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
    draws: int = Field(4, ge=1, description="paintings an example, of which the best learns")
    space: Literal["plain", "log"] = Field("plain", description="`log` for class probabilities")
    batch: int = Field(128, gt=0)
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
        torch.manual_seed(config.seed)
        self.embedder = image_embedder(config.embedder, config.device)
        self.codec = ImageCodec(config.size)
        self.images = self.codec.encode_uint8([image for path in config.train for image in read_images(path)])
        names = ("size", "patch", "width", "layers", "heads", "tokens", "noise", "draws", "space")
        self.config = {"dimension": self.embedder.dimension, **{name: getattr(config, name) for name in names}}
        self.network = ImageNetwork(**self.config).to(config.device)

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        found = []
        for _ in range(count):
            pick = torch.randint(len(self.images), (self.options.batch,), generator=generator)
            mirrored = torch.rand(self.options.batch, generator=generator) < 0.5
            pixels = self.images[pick]
            pixels[mirrored] = pixels[mirrored].flip(-1)
            found.append(pixels.float() / 255)
        return found

    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        self.network.eval()
        # From the first candidate to the boldest: what a beam holds.
        warmth = torch.rand(len(target), 1, device=target.device, generator=generator)
        made = self.network.write(target, hypothesis, embedding, warmth, generator)[:, 0]
        self.network.train()
        return made

    def compile(self) -> None:
        self.network.compile()

    def inverter(self) -> Inverter:
        return build_inverter(self.options.name, self.network, self.embedder)

    def held_out(self) -> list[tuple[str, list[Any]]]:
        images = [image for path in self.options.validation for image in read_images(path)]
        return [("images", self.codec.decode(self.codec.encode(images[: self.options.held_out])))]

    def save(self, folder: Path, training: dict[str, Any], quality: dict[str, Any]) -> None:
        save_network(
            folder,
            self.network,
            self.embedder,
            name=self.options.name,
            config=self.config,
            training=training,
            quality=quality,
            storage=self.options.storage,
        )

    def flops(self, signals: Tensor, corrected: bool) -> float:
        network = self.network
        tokens = network.side**2 + len(network.kinds)
        weights = tokens * sum(p.numel() for p in network.blocks.parameters()) + sum(
            p.numel() for p in network.read.parameters()
        )
        passes = 6 + (2 * network.draws if network.draws > 1 else 0)  # the draws are only looked at
        return float(passes * weights * len(signals))
