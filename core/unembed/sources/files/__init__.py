"""Files of vectors that need no extra: which reader a file's first bytes or its ending ask for."""

import os
import zipfile
from collections.abc import Callable

from unembed.errors import InputError
from unembed.sources.files.arrays import open_npy, open_npz, open_pt, open_safetensors, open_vecs
from unembed.sources.files.arrow import is_arrow_folder, open_arrow, open_folder, open_parquet
from unembed.sources.files.documents import open_json, open_jsonl
from unembed.sources.files.dumps import open_sql
from unembed.sources.files.separated import open_separated, open_text_vectors
from unembed.sources.records import SourceContents, SourceRequest

__all__ = ["ENDINGS", "FOLDER", "reader_of"]

Opener = Callable[[str, SourceRequest], SourceContents]
FOLDER = "folder"

ENDINGS: dict[str, Opener] = {
    ".arrow": open_arrow,
    ".bvecs": open_vecs,
    ".csv": open_separated,
    ".feather": open_arrow,
    ".fvecs": open_vecs,
    ".ivecs": open_vecs,
    ".json": open_json,
    ".jsonl": open_jsonl,
    ".ndjson": open_jsonl,
    ".npy": open_npy,
    ".npz": open_npz,
    ".parquet": open_parquet,
    ".pq": open_parquet,
    ".pt": open_pt,
    ".pth": open_pt,
    ".safetensors": open_safetensors,
    ".sql": open_sql,
    ".tsv": open_separated,
    ".txt": open_text_vectors,
}
_MAGIC: dict[bytes, Opener] = {
    b"\x93NUMPY": open_npy,
    b"PAR1": open_parquet,
    b"ARROW1": open_arrow,
    b"FEA1": open_arrow,
    b"\xff\xff\xff\xff": open_arrow,
}
_PICKLES = (".pkl", ".pickle", ".joblib")
_COMPRESSED = (".gz", ".bz2", ".xz")


def reader_of(place: str) -> Opener | None:
    """The reader of a file or folder, or None for what this module doesn't know; pickles raise InputError."""
    if os.path.isdir(place):
        return open_folder if is_arrow_folder(place) else None
    with open(place, "rb") as file:
        start = file.read(16)
    for magic, opener in _MAGIC.items():
        if start.startswith(magic):
            return opener
    stem, ending = os.path.splitext(place.lower())
    if ending in _COMPRESSED:
        ending = os.path.splitext(stem)[1]
    if zipfile.is_zipfile(place):
        inside = _inside(place)
        if inside is not None:
            return inside
    if ending in _PICKLES or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and ending not in ENDINGS):
        raise InputError(
            f"{place} is a pickle, which can run code when it is opened, so it isn't read; load it where you trust it "
            f"and save its array: numpy.save('vectors.npy', array)"
        )
    return ENDINGS.get(ending)


def _inside(place: str) -> Opener | None:
    """The reader that the entries of a zip archive ask for."""
    try:
        with zipfile.ZipFile(place) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None
    if any(name.endswith("data.pkl") for name in names):
        return open_pt
    return open_npz if any(name.endswith(".npy") for name in names) else None
