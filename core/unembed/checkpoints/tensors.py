"""Saving and loading the tensors of a checkpoint."""

import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unembed.checkpoints import files as on_disk
from unembed.checkpoints import self_test
from unembed.checkpoints.fingerprint import fingerprint
from unembed.checkpoints.manifest import Manifest, Storage, TensorEntry, manifest_json, read_manifest
from unembed.errors import CheckpointError, OutputError, brief
from unembed.version import __version__

if TYPE_CHECKING:
    from unembed.inversion.inverter import Inverter

__all__ = ["check_fit", "load_checkpoint", "save_checkpoint"]

SMALL = 2**20  # bytes; a tensor of fewer is copied, or it would keep its whole file in memory


def save_checkpoint(
    folder: str | Path,
    tensors: Mapping[str, Tensor],
    manifest: Manifest,
    *,
    inverter: "Inverter | None" = None,
    storage: Storage = "float32",
    shard_bytes: int = 15_000_000,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write `tensors` and `manifest` to `folder`, which must be new, empty, or a checkpoint, and is replaced whole.

    With `storage` "int8" each row of a floating-point matrix becomes int8 values and one float32 scale (its largest
    magnitude over 127), and vectors stay float32. A tensor larger than a shard is cut by rows. `beside(folder)` writes
    what else belongs in it, as tokenizers do. Files are of `shard_bytes` at most. Of the `inverter` that is saved the
    manifest gets what it lacks: its embedder's width and fingerprint, and a self-test; versions and checksums are
    always written.

    Everything goes to a temporary folder beside the target first; a kill leaves the old folder or the new. Raises
    InputError where `folder` holds something else, OutputError where the disk is full.

    Examples:
        >>> import torch, unembed
        >>> manifest = unembed.Manifest(modality="toy", name="mine", config={}, embedder={"name": "toy"})
        >>> unembed.save_checkpoint("mine", {"weight": torch.ones(2, 3)}, manifest, storage="float16")
        >>> unembed.load_checkpoint("mine")[1]["weight"].shape
        torch.Size([2, 3])
    """
    folder = Path(folder)
    on_disk.refuse_foreign(folder)
    if inverter is not None:
        manifest = _described(manifest, inverter)
    with on_disk.new_folder(folder) as temporary:
        entries = _write(temporary, tensors, storage, shard_bytes)
        if beside is not None:
            beside(temporary)
        versions = {"unembed": __version__, "torch": torch.__version__, "python": platform.python_version()}
        written = manifest.model_copy(
            update={"tensors": entries, "versions": versions, "files": on_disk.checksums(temporary)}
        )
        path = temporary / on_disk.MANIFEST
        path.write_text(manifest_json(written), encoding="utf-8")
        for file in temporary.glob("*.safetensors"):
            file.chmod(path.stat().st_mode & 0o7777)  # safetensors keeps its files to their owner


def _described(manifest: Manifest, inverter: "Inverter") -> Manifest:
    box, entry = inverter.embedder, manifest.embedder
    found: dict[str, object] = {} if entry.dimension is not None else {"dimension": box.dimension}
    if entry.fingerprint is None and box.available:
        found |= {"fingerprint": fingerprint(box, inverter.codec)}
    test = manifest.self_test or self_test.measured(inverter)
    return manifest.model_copy(update={"embedder": entry.model_copy(update=found), "self_test": test})


def _write(folder: Path, tensors: Mapping[str, Tensor], storage: Storage, limit: int) -> dict[str, TensorEntry]:
    entries: dict[str, TensorEntry] = {}
    shard: dict[str, Tensor] = {}
    filled = 0
    number = 1
    for name, tensor in tensors.items():
        stored, kind = _pack(tensor.detach().cpu(), storage)
        files: list[str] = []
        for piece in _pieces(stored, limit):
            size = sum(part.nbytes for part in piece.values())
            if shard and filled + size > limit:
                _save_file(shard, folder / f"model-{number:05}.safetensors")
                shard, filled, number = {}, 0, number + 1
            shard |= {f"{name}{suffix}": part.contiguous() for suffix, part in piece.items()}
            filled += size
            files.append(f"model-{number:05}.safetensors")
        entries[name] = TensorEntry(shape=list(tensor.shape), storage=kind, files=files)
    if shard:
        _save_file(shard, folder / f"model-{number:05}.safetensors")
    return entries


def _save_file(shard: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(shard, path)
    except SafetensorError as error:
        raise OutputError(f"can't write {path.parent.parent}: {error}") from error


def load_checkpoint(folder: str | Path, manifest: Manifest | None = None) -> tuple[Manifest, dict[str, Tensor]]:
    """Read the manifest and all tensors of the checkpoint in `folder`, as float32 where they were floating point.

    Give the `manifest` where it has been read already. Every file is compared with its checksum first. Raises
    CheckpointError for what is missing, damaged, or not what the manifest says.

    Examples:
        >>> import torch, unembed
        >>> manifest = unembed.Manifest(modality="toy", name="mine", config={}, embedder={"name": "toy"})
        >>> unembed.save_checkpoint("two", {"weight": torch.ones(2, 3)}, manifest)
        >>> found, tensors = unembed.load_checkpoint("two")
        >>> found.name, list(tensors)
        ('mine', ['weight'])
    """
    folder = Path(folder)
    manifest = read_manifest(folder) if manifest is None else manifest
    on_disk.verify(folder, manifest.files)
    stored: dict[str, dict[str, Tensor]] = {}
    for file in sorted({file for entry in manifest.tensors.values() for file in entry.files}):
        try:
            with safe_open(folder / file, framework="pt") as reader:
                stored[file] = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118 (no dict)
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder} lacks {file}, which its manifest names: copy it again") from error
        except OSError as error:
            raise CheckpointError(f"can't read {folder / file}: {error.strerror or brief(error)}") from error
        except SafetensorError as error:
            raise CheckpointError(f"{folder / file} is damaged ({brief(error)}): copy it again") from error
    for file, content in stored.items():
        for key in content:
            if key.removesuffix(".scale") not in manifest.tensors and key not in manifest.tensors:
                raise CheckpointError(f"{folder / file} holds tensor {brief(key)!r}, which the manifest doesn't name")
    tensors = {}
    for name, entry in manifest.tensors.items():
        tensors[name] = _unpack(folder, name, entry, stored)
        for file in entry.files:  # a large network isn't held twice
            stored[file].pop(name, None)
    return manifest, tensors


def check_fit(
    build: Callable[[], nn.Module],
    tensors: Mapping[str, Tensor],
    folder: Path,
    *,
    aliases: Callable[[str], bool] = lambda name: False,
) -> None:
    """Raise CheckpointError where the network that `build` makes has other tensors than those, or other shapes.

    It is built without memory for its weights, so that a wrong size costs none. `aliases(name)` says which tensors
    may be missing, for they are kept under another name.
    """
    with torch.device("meta"):
        wanted = build().state_dict()
    told = f"{folder}: its manifest and its tensors disagree"
    for name, tensor in tensors.items():
        if name not in wanted:
            raise CheckpointError(f"{told}: config gives a network without tensor {brief(name)!r}")
        if tensor.shape != wanted[name].shape:
            shapes = f"{list(tensor.shape)} in its files, {list(wanted[name].shape)} by its config"
            raise CheckpointError(f"{told}: tensor {name!r} is {shapes}")
    missing = [name for name in wanted if name not in tensors and not aliases(name)]
    if missing:
        raise CheckpointError(f"{told}: tensor {missing[0]!r} is in none of its files")


def _pack(tensor: Tensor, storage: Storage) -> tuple[dict[str, Tensor], str]:
    if not tensor.is_floating_point():
        return {"": tensor}, str(tensor.dtype).removeprefix("torch.")
    if storage == "int8" and tensor.ndim >= 2:
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(1).clamp_min(1e-12) / 127
        return {"": (rows / scale[:, None]).round().to(torch.int8), ".scale": scale}, "int8"
    if storage == "float16":
        return {"": tensor.half()}, "float16"
    return {"": tensor.float()}, "float32"


def _pieces(stored: dict[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    size = sum(part.nbytes for part in stored.values())
    value = stored[""]
    if size <= limit or value.ndim == 0:
        return [stored]
    rows = max(1, len(value) * limit // size)
    return [
        {suffix: part[start : start + rows] for suffix, part in stored.items()} for start in range(0, len(value), rows)
    ]


def _unpack(folder: Path, name: str, entry: TensorEntry, stored: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
    parts = []
    for file in entry.files:
        content = stored[file]
        suffixes = ("", ".scale") if entry.storage == "int8" else ("",)
        for suffix in suffixes:
            if name + suffix not in content:
                raise CheckpointError(f"{folder / file} lacks tensor {name + suffix!r}, which the manifest names")
        part = content[name]
        if str(part.dtype).removeprefix("torch.") != entry.storage:
            raise CheckpointError(f"{folder / file}: {name!r} is {part.dtype}; the manifest says {entry.storage}")
        numbers = content[name + ".scale"] if entry.storage == "int8" else part
        if entry.storage == "int8" and (part.ndim != 2 or numbers.shape != part.shape[:1]):
            raise CheckpointError(f"{folder / file}: {name!r} needs one scale a row; its shape is {list(part.shape)}")
        if numbers.is_floating_point() and not numbers.isfinite().all():
            raise CheckpointError(f"{folder / file}: tensor {name!r} holds NaN or infinity; its training went wrong")
        part = part.float() * numbers[:, None] if entry.storage == "int8" else part
        parts.append(part.float() if part.is_floating_point() else part)
        if parts[0].shape[1:] != parts[-1].shape[1:]:
            raise CheckpointError(f"{folder}: the rows of tensor {name!r} are of different widths")
    tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
    wanted = 1
    for side in entry.shape:
        wanted *= side
    rows = list(tensor.shape) if entry.storage != "int8" else [len(tensor), *entry.shape[1:]]
    if tensor.numel() != wanted or rows != entry.shape:
        raise CheckpointError(
            f"{folder}: tensor {name!r} has shape {list(tensor.shape)} in its files and {entry.shape} in the manifest"
        )
    tensor = tensor.reshape(entry.shape)
    return tensor.clone() if tensor.nbytes < SMALL else tensor
