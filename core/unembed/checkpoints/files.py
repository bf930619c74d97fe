"""The files of a checkpoint folder: their checksums, and whose they are."""

import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unembed.checkpoints.manifest import read_manifest
from unembed.errors import CheckpointError, InputError, OutputError, brief

__all__ = ["checksum", "checksums", "new_folder", "refuse_foreign", "verify"]

log = logging.getLogger("unembed.checkpoints")

MANIFEST = "manifest.json"
BESIDE = ("tokenizer/", "reader/")  # which manifests without checksums don't list


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder but its manifest, by name."""
    return {name: checksum(folder / name) for name in sorted(_names(folder)) if name != MANIFEST}


def verify(folder: Path, files: Mapping[str, str]) -> None:
    """Compare files with their checksums; raises CheckpointError that names the first that differs."""
    if not files:
        log.warning("%s has no checksums, as older checkpoints: damage to its files may go unnoticed", folder)
    for name, wanted in files.items():
        try:
            found = checksum(folder / name)
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder} lacks {name}, which its manifest names: copy it again") from error
        except OSError as error:
            raise CheckpointError(f"can't read {folder / name}: {error.strerror}") from error
        if found != wanted:
            raise CheckpointError(f"{folder / name} is damaged (its checksum differs): copy it again")


def refuse_foreign(folder: Path) -> None:
    """Raise InputError unless `folder` can be replaced: it is new, empty, or a checkpoint and nothing else.

    So is its sibling `.NAME.old`, to which an older checkpoint is moved before it goes.
    """
    for place in (folder, old_name(folder)):
        try:
            fault = _foreign(place)
        except OSError as error:
            raise InputError(f"can't write {brief(folder)}: {error.strerror}") from error
        if fault is not None:
            raise InputError(f"{brief(place)} {fault}; it isn't replaced: name a new or an empty folder")


def old_name(folder: Path) -> Path:
    """What a folder is called while another takes its place."""
    return folder.with_name(f".{folder.name}.old")


def _foreign(folder: Path) -> str | None:
    """Why a folder isn't ours to replace, or None."""
    if not os.path.lexists(folder):
        return None
    if folder.is_symlink() or not folder.is_dir():
        return "is a link" if folder.is_symlink() else "is no folder"
    names = _names(folder)
    if not names:
        return None
    try:
        manifest = read_manifest(folder)
    except CheckpointError:
        return "holds files and isn't an unembed checkpoint"
    known = {MANIFEST, *manifest.files, *(file for entry in manifest.tensors.values() for file in entry.files)}
    strange = sorted(name for name in names - known if manifest.files or not name.startswith(BESIDE))
    return f"holds {brief(strange[0])}, which isn't the checkpoint's" if strange else None


def _names(folder: Path) -> set[str]:
    """Files, links and empty folders anywhere in a folder, relative to it."""
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir() or not any(path.iterdir())]
    return {path.relative_to(folder).as_posix() for path in paths}


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when the block ends well, and goes when it doesn't.

    A kill leaves the old folder or the new; between the two renames at the end the old one is called `.NAME.old`.
    Raises InputError for a folder that holds what isn't ours, OutputError where it can't be written.
    """
    refuse_foreign(folder)
    temporary, old = folder.with_name(f".{uuid.uuid4().hex[:8]}.tmp"), old_name(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        if folder.exists():
            shutil.copymode(folder, temporary)
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(temporary, folder)
    except BaseException as error:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise OutputError(f"can't write {brief(folder)}: {error.strerror or error}") from error
        raise
    shutil.rmtree(old, ignore_errors=True)
