"""Arrays on disk: .npy (memory-mapped), .npz, .safetensors, .pt, .fvecs. Rows are read as they are asked for."""

import os
import tokenize
import zipfile
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import choose, id_field, listed, reading, text_field

__all__ = ["from_array", "open_npy", "open_npz", "open_pt", "open_safetensors", "open_vecs"]

Slice = Callable[[int, int], NDArray[Any]]
_HEADER_ERRORS = (ValueError, SyntaxError, tokenize.TokenError, TypeError, RecursionError, EOFError, KeyError)


def from_array(
    place: str,
    kind: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    take: Slice,
    *,
    ids: Sequence[Any] | NDArray[Any] | None = None,
    texts: Sequence[Any] | NDArray[Any] | None = None,
) -> SourceContents:
    """A source of an array `[N, D]` (or one vector `[D]`), of which `take(first, last)` gives rows."""
    if dtype.kind not in "fiu":
        raise InputError(f"{place} holds {dtype} values, not numbers")
    single = len(shape) == 1 and shape[0] > 0
    count, *rest = (1, *shape) if single else shape or (0,)
    if len(rest) != 1 or count == 0 or rest[0] == 0:
        raise InputError(f"{place} holds an array of shape {list(shape)}; vectors have shape [N, D], N ≥ 1")

    def read(size: int) -> Iterator[RecordBatch]:
        for first in range(0, count, size):
            last = min(first + size, count)
            with np.errstate(over="ignore"):
                vectors = np.asarray(take(first, last), dtype=np.float32).reshape(last - first, rest[0])
            rows = np.arange(first, last, dtype=np.int64)
            named = [str(value) for value in (rows if ids is None else ids[first:last])]
            beside = None if texts is None else [str(text) for text in texts[first:last]]
            yield RecordBatch(named, vectors, rows, beside)

    return SourceContents(kind, read, count, notes=_number_notes(dtype))


def _number_notes(dtype: np.dtype[Any]) -> tuple[str, ...]:
    if dtype.kind in "iu":
        return (f"values are {dtype} codes, read as they stand",)
    return ("values are half floats",) if dtype == np.float16 else ()


def open_npy(place: str, request: SourceRequest) -> SourceContents:
    """A .npy file, memory-mapped."""
    with open(place, "rb") as file:
        shape, fortran, dtype = _header(place, file)
        offset = file.tell()
    if not prod(shape):
        return from_array(place, "a .npy array", shape, dtype, lambda first, last: np.empty(0))
    needed = offset + prod(shape) * dtype.itemsize
    present = os.path.getsize(place)
    if needed > present:
        raise InputError(
            f"{place} declares an array of shape {list(shape)}, {needed:,} bytes, and the file has {present:,}; "
            f"it is cut or damaged"
        )
    array = np.memmap(place, dtype, "r", offset, shape, "F" if fortran else "C")
    return from_array(place, "a .npy array", shape, dtype, lambda first, last: _rows(array, first, last))


def _rows(array: NDArray[Any], first: int, last: int) -> NDArray[Any]:
    return array[None] if array.ndim == 1 else array[first:last]


def _header(place: str, file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type from a .npy header; what isn't one is never advised to be unpickled."""
    advice = f"{place} can't be read as a .npy array of numbers; write it with numpy.save, objects left out"
    try:
        version = np.lib.format.read_magic(file)
        parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = parse(file)
    except _HEADER_ERRORS as error:
        raise InputError(advice) from error
    if any(size < 0 for size in shape):
        raise InputError(advice)
    if dtype.hasobject:
        raise InputError(
            f"{place} can't be read: it is an array of objects (a pickle); numpy.stack its rows into one array of "
            f"numbers, then numpy.save that"
        )
    return shape, fortran, dtype


def open_npz(place: str, request: SourceRequest) -> SourceContents:
    """An .npz file: the array is read from the archive piece by piece."""
    try:
        with zipfile.ZipFile(place) as archive:
            entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            headers = {}
            for name, info in entries.items():
                if info.filename.endswith(".npy") and info.file_size:
                    with archive.open(info) as member:
                        headers[name] = _quiet_header(place, member, name == request.column)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{place} can't be read as an .npz of arrays of numbers: {error}") from error
    shapes = {name: header for name, header in headers.items() if header is not None}
    name = _choose_array(place, "array", {key: (shape, dtype) for key, (shape, _, dtype) in shapes.items()}, request)
    shape, fortran, dtype = shapes[name]
    beside = {key: s[0] for key, (s, _, d) in shapes.items() if len(s) == 1 and s[0] == shape[0] and d.kind in "USiu"}
    ids, texts = id_field(beside, name), text_field(beside, name)
    needed = prod(shape) * dtype.itemsize
    if entries[name].file_size < needed:
        raise InputError(f"{place}: array {name!r} declares the shape {list(shape)}, and its entry is too short for it")

    def load(key: str | None) -> NDArray[Any] | None:
        if key is None:
            return None
        with reading(place, ".npz file", zipfile.BadZipFile, OSError, *_HEADER_ERRORS), np.load(place) as arrays:
            return np.asarray(arrays[key])

    if fortran or len(shape) != 2:
        whole = load(name)
        assert whole is not None
        contents = from_array(place, "an .npz archive", shape, dtype, lambda a, b: _rows(whole, a, b))
        return contents
    contents = from_array(place, "an .npz archive", shape, dtype, lambda a, b: np.empty(0))

    def read(size: int) -> Iterator[RecordBatch]:
        named, beside_it = load(ids), load(texts)
        with (
            reading(place, ".npz file", zipfile.BadZipFile, OSError, EOFError, *_HEADER_ERRORS),
            zipfile.ZipFile(place) as archive,
            archive.open(entries[name]) as member,
        ):
            _header(place, member)
            width = shape[1]

            def take(first: int, last: int) -> NDArray[Any]:
                raw = member.read((last - first) * width * dtype.itemsize)
                return np.frombuffer(raw, dtype).reshape(last - first, width)

            yield from from_array(place, "", shape, dtype, take, ids=named, texts=beside_it).read(size)

    return SourceContents(contents.kind, read, contents.count, notes=contents.notes)


def _quiet_header(place: str, member: Any, asked: bool) -> tuple[tuple[int, ...], bool, np.dtype[Any]] | None:
    """The header, or None for an array of objects that nobody asked for."""
    try:
        return _header(place, member)
    except InputError:
        if asked:
            raise
        return None


def _choose_array(
    place: str, kind: str, arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], request: SourceRequest
) -> str:
    if request.column is not None:
        if request.column not in arrays:
            raise InputError(f"{place} has no {kind} {request.column!r}; it has {listed(list(arrays))}")
        return request.column
    if len(arrays) == 1:
        return next(iter(arrays))
    widths = {name: shape[1] for name, (shape, dtype) in arrays.items() if len(shape) == 2 and dtype.kind in "fiu"}
    return choose(place, kind, widths, list(arrays), request)


def open_safetensors(place: str, request: SourceRequest) -> SourceContents:
    """A .safetensors file, of which slices are read."""
    from safetensors import SafetensorError, safe_open

    with reading(place, "safetensors file", SafetensorError, OSError), safe_open(place, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in list(file.keys())}
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        numbers = np.dtype(np.float32)
        name = _choose_array(place, "tensor", {key: (shape, numbers) for key, shape in shapes.items()}, request)
        stored = slices[name].get_dtype()

    def read(size: int) -> Iterator[RecordBatch]:
        with reading(place, "safetensors file", SafetensorError, OSError), safe_open(place, framework="pt") as file:
            part = file.get_slice(name)

            def take(first: int, last: int) -> NDArray[Any]:
                tensor = part[first:last] if len(shapes[name]) > 1 else part[:]
                return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())

            yield from from_array(place, "", shapes[name], numbers, take).read(size)

    kinds = {"I8": "int8", "U8": "uint8", "I16": "int16", "I32": "int32", "I64": "int64", "F16": "float16"}
    dtype = np.dtype(kinds.get(stored, "bool" if stored == "BOOL" else "float32"))
    contents = from_array(place, "a .safetensors file", shapes[name], dtype, lambda a, b: np.empty(0))
    return SourceContents(contents.kind, read, contents.count, notes=contents.notes)


def open_pt(place: str, request: SourceRequest) -> SourceContents:
    """A .pt file: a tensor, or tensors by name. Opened with `weights_only=True`, so that no code in it runs."""
    import pickle

    import torch

    errors = (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError)
    try:
        found = torch.load(place, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(place))
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{place} holds Python objects, which could run code when they are opened; save a tensor or a dictionary "
            f"of tensors: torch.save(vectors, 'vectors.pt')"
        ) from error
    except errors as error:
        raise InputError(f"{place} isn't a readable .pt file, or is damaged: {str(error).splitlines()[0]}") from error
    tensors = _tensors(found, "")
    if not tensors:
        raise InputError(f"{place} holds no tensor: {type(found).__name__}")
    numbers = np.dtype(np.float32)
    name = _choose_array(place, "tensor", {key: (tuple(t.shape), numbers) for key, t in tensors.items()}, request)
    tensor = tensors[name].detach()
    dtype = np.dtype(np.float32) if tensor.is_floating_point() else np.dtype(str(tensor.dtype).rpartition(".")[2])

    def take(first: int, last: int) -> NDArray[Any]:
        part = tensor[first:last] if tensor.ndim > 1 else tensor
        return np.asarray((part.float() if part.is_floating_point() else part).numpy())

    return from_array(place, "a .pt file", tuple(tensor.shape), dtype, take)


def _tensors(found: Any, prefix: str) -> dict[str, Any]:
    """Tensors by their dotted names; lists of vectors as one tensor."""
    import torch

    if isinstance(found, torch.Tensor):
        return {prefix or "tensor": found}
    if isinstance(found, dict):
        parts = [_tensors(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in found.items()]
        return {name: tensor for part in parts for name, tensor in part.items()}
    listed_tensors = isinstance(found, list | tuple) and bool(found) and all(isinstance(t, torch.Tensor) for t in found)
    if listed_tensors and len({tuple(t.shape) for t in found}) == 1 and found[0].ndim == 1:
        return {prefix or "tensor": torch.stack(list(found))}
    return {}


def open_vecs(place: str, request: SourceRequest) -> SourceContents:
    """.fvecs, .ivecs and .bvecs (TEXMEX): each row is its width as int32, then its numbers."""
    kind = Path(place).suffix
    code = {".fvecs": "<f4", ".ivecs": "<i4", ".bvecs": "u1"}[kind]
    size = os.path.getsize(place)
    width = int(np.fromfile(place, "<i4", 1)[0]) if size >= 4 else 0
    if not 0 < width <= 1_000_000:
        raise InputError(f"{place} isn't a readable {kind} file: its first row declares a width of {width}")
    row = np.dtype([("width", "<i4"), ("values", code, (width,))])
    if size % row.itemsize:
        raise InputError(f"{place} isn't a whole number of rows {width} wide ({size:,} bytes); it is cut or damaged")
    array = np.memmap(place, row, "r")

    def take(first: int, last: int) -> NDArray[Any]:
        part = array[first:last]
        odd = np.flatnonzero(part["width"] != width)
        if len(odd):
            raise InputError(f"{place}, row {first + odd[0]} is {part['width'][odd[0]]} wide, the others {width}")
        return np.asarray(part["values"])

    return from_array(place, f"a {kind} file", (len(array), width), np.dtype(code), take)
