"""Training an image inverter: pictures from folders or parquet files, and the network that learns to make them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unembed.checkpoints.manifest import Storage
from unembed.config import Config, parse
from unembed.errors import ConfigError
from unembed.inversion.inverter import Inverter
from unembed.training.recipe import Recipe
from unembed_image.codec import ImageCodec, levels
from unembed_image.files import read_images
from unembed_image.methods.flow.augmentation import varied
from unembed_image.methods.flow.checkpoint import build_inverter, image_embedder, save_network
from unembed_image.methods.flow.objective import ImageObjective
from unembed_image.methods.flow.proposals import corrections, guesses
from unembed_image.networks.blocks import compiled
from unembed_image.networks.denoiser import MULTIPLE
from unembed_image.networks.network import ImageNetwork, Space

__all__ = ["ImageRecipe", "ImageRecipeConfig"]

MET = 1024  # images, at most, whose embeddings tell the network their mean and spread
RESIDENT = 8_000_000_000  # bytes of training images, up to which they are held on the device


class ImageRecipeConfig(Config):
    """The `[recipe]` table."""

    name: str = Field(description="of the inverter")
    embedder: str = Field(description="the black box: `clip:…`, `features:…`, `probs:…` or `efficientnet-lite0`")
    train: list[Path] = Field(min_length=1, description="folders of images, or .parquet files with a column `image`")
    validation: list[Path] = Field(min_length=1)
    held_out: int = Field(64, gt=0, le=1_000_000, description="validation images measured during training")
    size: int = Field(64, ge=16, le=4_096, description="side of a signal in pixels")
    width: int = Field(384, ge=64, le=65_536, multiple_of=64, description="the denoiser's, in its inner layers")
    depth: int = Field(10, gt=0, le=1_000, description="of the denoiser's inner layers")
    channels: int = Field(
        40, gt=0, le=4_096, description="the surrogate's at full resolution; up to 8 times as many at lower ones"
    )
    space: Space = Field("plain", description="`log` for class probabilities")
    independent: str | None = Field(None, description="another embedder, by which results are measured too")
    batch: int = Field(128, gt=0, le=65_536)
    vary: float = Field(0.3, ge=0, lt=1, description="how far training images are cut and their colours changed")
    storage: Storage = "float16"
    device: str
    seed: int


class ImageRecipe(Recipe):
    """See `unembed.Recipe`. All training images are held in memory, as bytes at the inverter's resolution."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = config = parse(ImageRecipeConfig, options, "[recipe]")
        if config.size % MULTIPLE:
            raise ConfigError(f"[recipe] size: a multiple of {MULTIPLE}, not {config.size}")
        torch.manual_seed(config.seed)
        self.box = image_embedder(config.embedder, config.device)
        self.embedder = self.box
        self.codec = ImageCodec(config.size)
        images = self.codec.encode_uint8([image for path in config.train for image in read_images(path)])
        self.images = images.to(config.device) if images.nbytes <= RESIDENT else images
        names = ("size", "width", "depth", "channels", "space")
        self.config = {"dimension": self.embedder.dimension, **{name: getattr(config, name) for name in names}}
        self.inner = ImageNetwork(**self.config)
        self.work = _work(self.inner)
        self.objective = ImageObjective(self.inner).to(config.device)
        self.network = self.objective
        self.inner.fit_normalizer(
            self.embed(self._drawn(min(MET, len(self.images)), torch.Generator().manual_seed(config.seed)))
        )

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        return [self._drawn(self.options.batch, generator) for _ in range(count)]

    def _drawn(self, count: int, generator: torch.Generator) -> Tensor:
        pick = torch.randint(len(self.images), (count,), generator=generator)
        pixels = self.images[pick.to(self.images.device)].to(self.options.device).float() / 255
        return varied(pixels, self.options.vary, generator)

    def embed(self, signals: Tensor) -> Tensor:
        """Half precision on an accelerator: a large model's forward passes are what training waits for."""
        with torch.autocast("cuda", torch.bfloat16, enabled=self.embedder.device.type == "cuda"):
            return self.embedder.embed(signals)

    def scalars(self) -> dict[str, float]:
        return self.objective.tally.read()

    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        if hypothesis is None or embedding is None:
            # As sharp as guesses are, and as soft as what the surrogate is asked about on the way to them.
            steps = int(torch.randint(1, 5, (), device=target.device, generator=generator))
            return guesses(self.inner, target, 1, generator, steps)[:, 0]
        half = len(target) // 2
        begin = torch.rand(len(target), 1, device=target.device, generator=generator)
        first = (target[:half], hypothesis[:half], embedding[:half], begin[:half])
        made = corrections(self.inner, *first, generator)[:, 0] if half else hypothesis[:0]
        # The others go towards the photograph: the surrogate learns what lies on the way that corrections should take.
        return torch.cat([made, levels(torch.lerp(hypothesis, signals, begin[..., None, None])[half:])])

    def compile(self) -> None:
        compiled(self.inner)

    def inverter(self) -> Inverter:
        return build_inverter(self.options.name, self.inner, self.box, self.options.independent)

    def held_out(self) -> list[tuple[str, list[Any]]]:
        images = [image for path in self.options.validation for image in read_images(path)]
        return [("images", self.codec.decode(self.codec.encode(images[: self.options.held_out])))]

    def save(self, folder: Path, training: dict[str, Any]) -> None:
        save_network(
            folder,
            self.inner,
            self.box,
            name=self.options.name,
            config=self.config,
            training=training,
            independent=self.options.independent,
            storage=self.options.storage,
        )

    def flops(self, signals: Tensor, corrected: bool) -> float:
        return float(3 * sum(self.work) * len(signals))


def _work(network: ImageNetwork) -> tuple[int, int]:
    """Operations of a denoising step and of a surrogate's prediction."""
    found, image = [], torch.zeros(1, 3, network.size, network.size)
    calls: tuple[Callable[[], Tensor], ...] = (
        lambda: network.denoiser(image, torch.zeros(1), torch.zeros(1, network.dimension)),
        lambda: network.surrogate(image),
    )
    for call in calls:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            call()
        found.append(counter.get_total_flops())
    return found[0], found[1]
