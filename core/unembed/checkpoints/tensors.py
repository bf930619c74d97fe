"""Saving and loading the tensors of a checkpoint."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unembed.checkpoints.manifest import Manifest, Storage, TensorEntry, manifest_json, read_manifest
from unembed.errors import CheckpointError

__all__ = ["load_checkpoint", "save_checkpoint"]

SMALL = 2**20  # bytes; a tensor of fewer is copied, or it would keep its whole file in memory


def save_checkpoint(
    folder: Path,
    tensors: Mapping[str, Tensor],
    manifest: Manifest,
    *,
    storage: Storage = "float32",
    shard_bytes: int = 15_000_000,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write `tensors` and `manifest` to `folder`, which is replaced whole if it exists.

    With "int8" each row of a floating-point matrix becomes int8 values and one float32 scale (its largest
    magnitude over 127), and vectors stay float32. A tensor larger than a shard is cut by rows. Everything
    goes to a temporary folder beside the target first; a kill leaves the old folder or the new (between the
    two renames at the end the old one is called `.NAME.old`). `beside(folder)` writes what else belongs in it,
    as tokenizers do.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    entries: dict[str, TensorEntry] = {}
    shard: dict[str, Tensor] = {}
    filled = 0
    number = 1
    for name, tensor in tensors.items():
        stored, kind = _pack(tensor.detach().cpu(), storage)
        files: list[str] = []
        for piece in _pieces(stored, shard_bytes):
            size = sum(part.nbytes for part in piece.values())
            if shard and filled + size > shard_bytes:
                save_file(shard, temporary / f"model-{number:05}.safetensors")
                shard, filled, number = {}, 0, number + 1
            shard |= {f"{name}{suffix}": part.contiguous() for suffix, part in piece.items()}
            filled += size
            files.append(f"model-{number:05}.safetensors")
        entries[name] = TensorEntry(shape=list(tensor.shape), storage=kind, files=files)
    if shard:
        save_file(shard, temporary / f"model-{number:05}.safetensors")
    written = manifest.model_copy(update={"tensors": entries})
    (temporary / "manifest.json").write_text(manifest_json(written))
    if beside is not None:
        beside(temporary)
    for path in (temporary, *temporary.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors keeps its files to their owner
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path) -> tuple[Manifest, dict[str, Tensor]]:
    """The manifest and all tensors, as float32 where they were floating point; raises CheckpointError."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    stored: dict[str, dict[str, Tensor]] = {}
    for file in sorted({file for entry in manifest.tensors.values() for file in entry.files}):
        try:
            with safe_open(folder / file, framework="pt") as reader:
                stored[file] = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118 (no dict)
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder} lacks {file}, which its manifest names: copy it again") from error
        except SafetensorError as error:
            raise CheckpointError(f"{folder / file} is damaged ({error}): copy it again") from error
    for file, content in stored.items():
        for key in content:
            if key.removesuffix(".scale") not in manifest.tensors and key not in manifest.tensors:
                raise CheckpointError(f"{folder / file} holds tensor {key!r}, which the manifest doesn't name")
    tensors = {}
    for name, entry in manifest.tensors.items():
        tensors[name] = _unpack(folder, name, entry, stored)
        for file in entry.files:  # a large network isn't held twice
            stored[file].pop(name, None)
    return manifest, tensors


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
        part = part.float() * content[name + ".scale"][:, None] if entry.storage == "int8" else part
        parts.append(part.float() if part.is_floating_point() else part)
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
