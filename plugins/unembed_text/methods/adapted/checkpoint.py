"""The checkpoint of an adapted inverter: a map of a few MB, the base that it aims, and the embedder it is for."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from unembed.checkpoints.fingerprint import fingerprint, same
from unembed.checkpoints.manifest import EmbedderEntry, Fingerprint, Manifest, network_config, read_manifest
from unembed.checkpoints.tensors import load_checkpoint, save_checkpoint
from unembed.config import Config
from unembed.contract.embedder import Embedder
from unembed.contract.proposers import Hypothesizer
from unembed.errors import CheckpointError, InputError
from unembed.inversion.inverter import Inverter
from unembed.registry.opening import load
from unembed_text.embedders.base import TextAdapter, TextEmbedder
from unembed_text.embedders.given import text_embedder
from unembed_text.methods.adapted.fitting import SpaceMap
from unembed_text.methods.adapted.moves import aimed_effort, there
from unembed_text.methods.adapted.proposers import Aim, AimedCorrector, AimedHypothesizer

__all__ = ["AdaptedShape", "UnaskedEmbedder", "aimed", "build_inverter", "open_base", "open_checkpoint", "save_adapted"]

METHOD = "adapted"
TUNED = "base"  # the folder, in a checkpoint's own, of a base with weights of its own


class Base(Config):
    """The inverter that is aimed, and the fingerprint of the embedder that it was trained on.

    One that was `tuned` lies in the adapted checkpoint's own folder, and `name` is that of the one that it was.
    """

    name: str = Field(min_length=1)
    embedder: Fingerprint
    tuned: bool = False


class AdaptedShape(Config):
    """`config` of an adapted inverter: `scale` is that of its `SpaceMap`, which has so many `centres`.

    Unless `asked`, its vectors came without a model that could be asked.
    """

    base: Base
    dimension: int = Field(gt=0, le=2**20)
    centres: int = Field(gt=0, le=2**20)
    scale: float = Field(gt=0, allow_inf_nan=False)
    asked: bool = True


class UnaskedEmbedder(TextEmbedder):
    """Stands for a model of which only vectors are known."""

    def __init__(self, name: str, dimension: int, device: torch.device) -> None:
        super().__init__(
            name=name, modality="text", dimension=dimension, normalized=False, device=device, available=False
        )

    def _signals(self, texts: Sequence[str]) -> Tensor:
        raise self._refusal()

    def _embed(self, signals: Tensor) -> Tensor:
        raise self._refusal()

    def _refusal(self) -> InputError:
        return InputError(
            f"the model of {self.name} can't be asked: its inverter was adapted to vectors alone; search with 0 steps, "
            f"or name the model as embedder"
        )


def open_base(name: str, device: torch.device) -> Inverter:
    """The inverter to aim: one that was trained; raises InputError for one that is itself adapted."""
    folder = Path(name).expanduser()
    if (folder / "manifest.json").is_file() and read_manifest(folder).method == METHOD:
        raise InputError(f"{name} is itself adapted; adapt the inverter that it is based on")
    return load(name, device=device)


def build_inverter(name: str, base: Inverter, aim: Aim, embedder: TextEmbedder) -> Inverter:
    """The base, aimed at another embedder, which judges what it proposes."""
    box = TextAdapter(embedder, base.codec.decode)
    return aimed(name, base, aim, box, asked=not isinstance(embedder, UnaskedEmbedder))


def aimed(
    name: str,
    base: Inverter,
    aim: Aim,
    embedder: Embedder,
    *,
    asked: bool = True,
    hypothesizer: Hypothesizer | None = None,
) -> Inverter:
    """The base, aimed at an embedder of its own signals, which stays unasked unless `asked`.

    `hypothesizer` stands in for the base's, if given.
    """
    efforts = {name: aimed_effort(effort) for name, effort in base.efforts.items()}
    if not asked:
        efforts = {name: effort.override(steps=0) for name, effort in efforts.items()}
    edits = {} if base.editor is None else base.editor.parts("edit")
    return Inverter(
        name=name,
        embedder=embedder,
        hypothesizer=AimedHypothesizer(hypothesizer or base.hypothesizer, aim),
        corrector=AimedCorrector(base.corrector, aim),
        codec=base.codec,
        editor=None if base.editor is None else AimedCorrector(base.editor, aim),
        parts={"estimate": aim.estimate, "locate": aim.locate, **there(base.corrector.parts() | edits)},
        metrics=base.metrics,
        efforts=efforts,
    )


def save_adapted(
    folder: Path,
    base: Inverter,
    aim: Aim,
    embedder: TextEmbedder,
    *,
    name: str,
    base_name: str,
    training: dict[str, Any],
    quality: dict[str, Any],
    tuned: Path | None = None,
) -> Inverter:
    """Write a checkpoint and return its inverter, which `unembed.load` opens.

    `tuned` is the folder of the base where it has weights of its own; they become part of the checkpoint.
    """

    def weights(place: Path) -> None:
        if tuned is not None:
            shutil.copytree(tuned, place / TUNED)

    entry = None if base.manifest is None else base.manifest.embedder.fingerprint
    shape = AdaptedShape(
        base=Base(name=base_name, embedder=entry or fingerprint(base.embedder, base.codec), tuned=tuned is not None),
        dimension=embedder.dimension,
        centres=len(aim.map.centres),
        scale=aim.map.scale,
        asked=embedder.available,
    )
    manifest = Manifest(
        modality="text",
        method=METHOD,
        name=name,
        summary=f"{base.name}, adapted to {embedder.name}",
        config=shape.model_dump(mode="json"),
        embedder=EmbedderEntry(name=embedder.name),
        training=training,
        quality=quality,
    )
    inverter = build_inverter(name, base, aim, embedder)
    save_checkpoint(folder, aim.map.tensors(), manifest, inverter=inverter, beside=weights)
    return inverter


def open_checkpoint(folder: Path, manifest: Manifest, device: torch.device, embedder: Any = None) -> Inverter:
    """Build the inverter of a checkpoint; `embedder` is another way to its model."""
    shape = network_config(AdaptedShape, manifest, folder)
    tensors = load_checkpoint(folder, manifest)[1]
    base = open_base(str(folder / TUNED) if shape.base.tuned else shape.base.name, device)
    found = fingerprint(base.embedder, base.codec)
    if not same(shape.base.embedder, found):
        raise CheckpointError(
            f"{folder} aims inverter {shape.base.name!r} of another embedder (fingerprint "
            f"{shape.base.embedder.hash}) than the one found under that name ({found.hash})"
        )
    a, b, m = shape.dimension, base.dimension, shape.centres
    wanted = {"mean": [a], "weight": [a, b], "centres": [m, a], "coefficients": [m, b], "origin": [b]}
    if {key: list(tensor.shape) for key, tensor in tensors.items()} != wanted:
        raise CheckpointError(f"{folder}: its manifest and its tensors disagree: by its config they are {wanted}")
    if embedder is None and not shape.asked:
        texts: TextEmbedder = UnaskedEmbedder(manifest.embedder.name, shape.dimension, device)
    else:
        texts = text_embedder(manifest.embedder.name if embedder is None else embedder, device, shape.dimension)
    space = SpaceMap(**{key: tensor.to(device) for key, tensor in tensors.items()}, scale=shape.scale)
    return build_inverter(manifest.name, base, Aim(space, base.embedder.embed), texts)
