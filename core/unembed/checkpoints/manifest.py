"""The manifest: what a checkpoint is, in JSON."""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from unembed.checkpoints.migrations import migrated
from unembed.config import Config, faults
from unembed.defaults import EFFORT
from unembed.errors import CheckpointError
from unembed.inversion.calibration import Calibration

__all__ = [
    "EmbedderEntry",
    "Fingerprint",
    "Manifest",
    "SelfTest",
    "Storage",
    "TensorEntry",
    "manifest_json",
    "network_config",
    "read_manifest",
    "write_manifest",
]

FORMAT = 1

Storage = Literal["float32", "float16", "int8"]


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise ValueError(f"{name!r} isn't the name of a file within the checkpoint's folder")
    return name


FileName = Annotated[str, AfterValidator(_inside)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class TensorEntry(Config):
    """One tensor: its shape, how it is stored, and the files that hold its rows in order."""

    shape: list[Annotated[int, Field(ge=0)]]
    storage: str
    files: list[FileName] = Field(min_length=1)


class Fingerprint(Config):
    """What an embedder answers to its codec's probes, rounded: see `unembed.fingerprint`."""

    hash: str
    dimension: int = Field(gt=0)
    values: list[list[Number]] = Field(min_length=1)
    sums: list[list[Number]] | None = None
    lengths: list[Number] | None = None


class EmbedderEntry(Config):
    """The black box that a checkpoint inverts; `independent` names another one, by which results are measured too.

    Without a `fingerprint` nothing tells it from another of the same width.
    """

    name: str = Field(min_length=1)
    dimension: Annotated[int, Field(gt=0)] | None = None
    fingerprint: Fingerprint | None = None
    independent: str | None = None


class SelfTest(Config):
    """A search with what it reached when the checkpoint was saved, on the codec's probe of that index.

    Older checkpoints name the `object` itself and no effort: theirs is the default.
    """

    probe: Annotated[int, Field(ge=0)] | None = None
    object: str | None = None
    effort: str = EFFORT
    steps: int = Field(ge=0)
    beam: int = Field(ge=1)
    similarity: Number

    @model_validator(mode="after")
    def _one_subject(self) -> "SelfTest":
        if (self.probe is None) == (self.object is None):
            raise ValueError("it names either a probe or an object")
        return self


class Manifest(Config):
    """`manifest.json`: what the checkpoint is, needs, was trained on and reaches.

    `method` opens it; unless given it is the modality's own. `files` has the SHA-256 of every other file.
    """

    format: Literal[1] = 1
    modality: str
    method: str = ""
    name: str
    summary: str = ""
    config: dict[str, Any]
    embedder: EmbedderEntry
    versions: dict[str, str] = {}
    training: dict[str, Any] = {}
    quality: dict[str, Any] = {}
    self_test: SelfTest | None = None
    calibration: Calibration | None = None
    tensors: dict[str, TensorEntry] = {}
    files: dict[FileName, Sha256] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_any_age(cls, data: Any) -> Any:
        return migrated(data) if isinstance(data, dict) else data


Model = TypeVar("Model", bound=BaseModel)


def network_config(model: type[Model], manifest: Manifest, folder: Path) -> Model:
    """The manifest's `config` as a `model`; raises CheckpointError that names what doesn't fit."""
    try:
        return model.model_validate(manifest.config)
    except ValidationError as error:
        raise CheckpointError(f"{Path(folder) / 'manifest.json'}: {faults(error, 'config')}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of a checkpoint folder, whole or not at all; raises CheckpointError.

    Its permissions stay, and where it is a link the file that it leads to is replaced.
    """
    path = (Path(folder) / "manifest.json").resolve()
    temporary = path.with_name(f".manifest.{os.getpid()}.tmp")
    try:
        temporary.write_text(manifest_json(manifest), encoding="utf-8")
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o7777)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(f"can't write {path}: {error.strerror}") from error


def manifest_json(manifest: Manifest) -> str:
    """A manifest as the text of its file."""
    return json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint folder; raises CheckpointError."""
    path = Path(folder) / "manifest.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        what = "it has no readable manifest.json" if os.path.isdir(folder) else "there is no such folder"
        hint = "give the folder that a training run or an import wrote"
        raise CheckpointError(f"{folder} isn't an unembed checkpoint: {what}; {hint}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} isn't valid JSON: {error}") from error
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{path} has format {found!r}; this version of unembed reads format {FORMAT}")
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {faults(error)}") from error
