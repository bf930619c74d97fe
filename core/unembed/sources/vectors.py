"""Reading vectors from the files that vector databases and notebooks leave behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError

__all__ = ["read_vectors"]

Vectors = NDArray[np.float32]
FIELDS = ("embedding", "vector", "embeddings", "vectors")


def read_vectors(path: Path, *, name: str | None = None) -> Vectors:
    """The vectors of a .npy, .npz, .parquet, .safetensors or .jsonl file, as float32 `[N, D]`.

    `name` says which array, column, tensor or field to take; without it the only one that can be meant, or
    else one called `embedding` or `vector`. A single vector `[D]` counts as one row. Raises InputError.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file {path}" if not path.is_dir() else f"{path} is a folder; give a file of vectors")
    if path.suffix not in _READERS:
        raise InputError(f"{path}: vectors come from {', '.join(sorted(_READERS))} files, not {path.suffix!r}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    found = _READERS[path.suffix](path, name)
    if found.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {found.dtype} values, not numbers")
    found = found[None] if found.ndim == 1 and found.size else found
    if found.ndim != 2 or found.size == 0:
        raise InputError(f"{path} holds an array of shape {list(found.shape)}; vectors have shape [N, D], N ≥ 1")
    return found.astype(np.float32)


def _npy(path: Path, name: str | None) -> NDArray[Any]:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:  # whose words may advise to unpickle the file
        raise InputError(
            f"{path} can't be read as a .npy array of numbers; write it with numpy.save, objects left out"
        ) from error
    return np.asarray(found)


def _npz(path: Path, name: str | None) -> NDArray[Any]:
    from zipfile import BadZipFile

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[_choose(path, "array", list(arrays.files), name)])
    except (ValueError, OSError, EOFError, BadZipFile, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} can't be read as an .npz of arrays of numbers: {error}") from error


def _parquet(path: Path, name: str | None) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} isn't a readable parquet file: {error}") from error
    schema = file.schema_arrow
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    columns = [field.name for field in schema if any(kind(field.type) for kind in lists)]
    if name is not None and name in schema.names and name not in columns:
        raise InputError(f"{path}: column {name!r} is {schema.field(name).type}, not a list of numbers")
    if not columns:
        raise InputError(f"{path} has no column of vectors; it has {', '.join(schema.names)}")
    column = _choose(path, "column", columns, name)
    return _rows(path, file.read([column])[column].to_pylist(), first=0)


def _safetensors(path: Path, name: str | None) -> NDArray[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensor = file.get_tensor(_choose(path, "tensor", list(file.keys()), name))
    except SafetensorError as error:
        raise InputError(f"{path} isn't a readable safetensors file: {error}") from error
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def _jsonl(path: Path, name: str | None) -> NDArray[Any]:
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} isn't UTF-8 text (byte {error.start})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number} isn't JSON: {error}") from error
        if isinstance(row, dict):
            row = row[_choose(f"{path}, line {number}", "field", list(row), name)]
        rows.append(row)
    return _rows(path, rows, first=1)


def _rows(path: Path, rows: list[Any], *, first: int) -> NDArray[Any]:
    """Lists of numbers as one array; the message names the first row that doesn't fit."""
    width = None
    for number, row in enumerate(rows, first):
        if not isinstance(row, list) or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in row):
            raise InputError(f"{path}, row {number} isn't a list of numbers")
        if width is not None and len(row) != width:
            raise InputError(f"{path}, row {number} is {len(row)} wide and the rows before are {width}")
        width = len(row)
    return np.array(rows, dtype=np.float32)


def _choose(where: Path | str, kind: str, present: list[str], name: str | None) -> str:
    listed = ", ".join(present) or "none"
    if name is not None:
        if name not in present:
            raise InputError(f"{where} has no {kind} {name!r}; it has {listed}")
        return name
    if len(present) == 1:
        return present[0]
    for field in FIELDS:
        if field in present:
            return field
    raise InputError(f"{where} has several {kind}s ({listed}); say which")


_READERS: dict[str, Callable[[Path, str | None], NDArray[Any]]] = {
    ".jsonl": _jsonl,
    ".npy": _npy,
    ".npz": _npz,
    ".parquet": _parquet,
    ".safetensors": _safetensors,
}
