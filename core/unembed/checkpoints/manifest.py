"""The manifest: what a checkpoint is, in JSON."""

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from unembed.config import Config
from unembed.errors import CheckpointError
from unembed.inversion.calibration import Calibration

__all__ = ["Manifest", "Storage", "TensorEntry", "manifest_json", "read_manifest", "write_manifest"]

FORMAT = 1

Storage = Literal["float32", "float16", "int8"]


class TensorEntry(Config):
    """One tensor: its shape, how it is stored, and the files that hold its rows in order."""

    shape: list[int]
    storage: str
    files: list[str]


class Manifest(Config):
    """`manifest.json`: what the checkpoint is, needs, was trained on and reaches."""

    format: Literal[1] = 1
    modality: str
    name: str
    summary: str = ""
    config: dict[str, Any]
    embedder: dict[str, Any]
    versions: dict[str, str] = {}
    training: dict[str, Any] = {}
    quality: dict[str, Any] = {}
    self_test: dict[str, Any] | None = None
    calibration: Calibration | None = None
    tensors: dict[str, TensorEntry] = {}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of a checkpoint folder, whole or not at all; raises CheckpointError."""
    path = Path(folder) / "manifest.json"
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(manifest_json(manifest))
        os.replace(temporary, path)
    except OSError as error:
        raise CheckpointError(f"can't write {path}: {error.strerror}") from error


def manifest_json(manifest: Manifest) -> str:
    return json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint folder; raises CheckpointError."""
    path = Path(folder) / "manifest.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        what = "it has no readable manifest.json" if Path(folder).is_dir() else "there is no such folder"
        hint = "give the folder that a training run or an import wrote"
        raise CheckpointError(f"{folder} is no unembed checkpoint: {what}; {hint}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} isn't valid JSON: {error}") from error
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{path} has format {found!r}; this version of unembed reads format {FORMAT}")
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        fault = error.errors()[0]
        raise CheckpointError(f"{path}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
