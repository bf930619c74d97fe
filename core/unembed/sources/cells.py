"""One cell as a vector: lists, numpy's and pgvector's text, base64, bytes."""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BadCellError", "blob_type", "decode_cell", "shortened", "vector_like"]

_NUMBERS = re.compile(r"[-+.\deE,;\s]|nan|inf|null|None", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_WRAPPED = re.compile(r"^(?:np\.|numpy\.|torch\.)?(?:array|tensor|Vector|HalfVector)\(|, *(?:dtype|device)=[^)\]]*|\)$")
_SCALAR = re.compile(r"np\.(?:float|int|uint)\d+\(([^)]*)\)")
_SPARSE = re.compile(r"\{([^}]*)\}/(\d+)")
_LONGEST = 4_000_000
_FEWEST_BYTES = 32
_LARGEST_SPREAD = 16.0

FLOATS = {"float32": "<f4", "float64": "<f8", "float16": "<f2"}


class BadCellError(ValueError):
    """A cell that holds no vector; the message is the reason for which its row is skipped."""


def shortened(text: object, limit: int = 60) -> str:
    """The text on one line, cut in its middle where it is long."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[: limit // 2]} … {line[-limit // 4 :]}"


def decode_cell(cell: Any, *, width: int | None = None, blob: str | None = None) -> tuple[NDArray[Any], str]:
    """The cell's numbers as an array `[D]`, and a note on how they were found (empty for a list of numbers).

    `width` tells apart what several widths could mean; `blob` is the type of bytes seen before ("float32"). Raises
    BadCellError with the reason.
    """
    if cell is None:
        raise BadCellError("is null")
    if isinstance(cell, np.ndarray):
        return _numbers(cell), ""
    if isinstance(cell, list | tuple):
        return _listed(cell, width, blob)
    if isinstance(cell, bytes | bytearray | memoryview):
        return _blob(bytes(cell), width, blob, "bytes")
    if isinstance(cell, str):
        return _text(cell, width, blob)
    if isinstance(cell, dict):
        return _listed(_by_index(cell), width, blob)
    raise BadCellError(f"is a {type(cell).__name__}, not a vector")


def vector_like(cell: Any) -> int:
    """How wide the vector in a cell is, or 0 where it holds none; a guess from the cell alone."""
    if isinstance(cell, str) and not _may_be_text(cell):
        return 0
    if isinstance(cell, dict) and not all(isinstance(key, str) and key.isdigit() for key in cell):
        return 0
    if not isinstance(cell, list | tuple | str | bytes | np.ndarray | dict) or len(cell) == 0:
        return 0
    if isinstance(cell, list | tuple) and len(cell) == 1 and not isinstance(cell[0], list | str):
        return 0
    if isinstance(cell, bytes) and (len(cell) < _FEWEST_BYTES or len(cell) % 2 or blob_type(cell) is None):
        return 0
    try:
        return len(decode_cell(cell)[0])
    except BadCellError:
        return 0


def blob_type(raw: bytes, width: int | None = None) -> str | None:
    """What little-endian numbers the bytes hold: float32 or float64, or by the width float16; None if neither.

    A type is told by how much the exponents vary: read wrongly, they are scattered over their whole range.
    """
    if width is not None:
        for name, code in FLOATS.items():
            if len(raw) == width * np.dtype(code).itemsize:
                return name
    spread = {name: _spread(raw, FLOATS[name]) for name in ("float32", "float64")}
    best = min(spread, key=lambda name: spread[name])
    return best if spread[best] < _LARGEST_SPREAD else None


def _spread(raw: bytes, code: str) -> float:
    """How many powers of two lie between the tenth and the ninetieth of a hundred numbers by size."""
    if len(raw) % np.dtype(code).itemsize:
        return float("inf")
    values = np.frombuffer(raw, code)
    with np.errstate(all="ignore"):
        size = np.abs(values[values != 0]).astype(np.float64)
    if not len(size) or not np.isfinite(size).all() or len(size) < 0.25 * len(values):
        return float("inf")
    low, high = np.percentile(np.log2(size), [10, 90])
    return float(high - low) + 8 * (1 - len(size) / len(values))


def _numbers(found: NDArray[Any]) -> NDArray[Any]:
    if found.dtype.kind not in "fiu":
        raise BadCellError(f"holds {found.dtype} values, not numbers")
    if found.ndim != 1:
        raise BadCellError(f"is an array of shape {list(found.shape)}, not a vector")
    if not len(found):
        raise BadCellError("is empty")
    return found


def _listed(cell: Sequence[Any], width: int | None, blob: str | None) -> tuple[NDArray[Any], str]:
    if not len(cell):
        raise BadCellError("is empty")
    if len(cell) == 1 and isinstance(cell[0], list | str | bytes):
        found, note = decode_cell(cell[0], width=width, blob=blob)
        return found, note or "vectors lie in lists of one"
    try:
        found = np.array(cell)
    except (ValueError, OverflowError) as error:
        raise BadCellError("isn't a list of numbers") from error
    if found.dtype.kind == "O":
        found = _with_nulls(cell)
    if found.dtype.kind == "U" or any(isinstance(value, bool) for value in (cell[0], cell[-1])):
        raise BadCellError("isn't a list of numbers")
    return _numbers(found), ""


def _with_nulls(cell: Sequence[Any]) -> NDArray[Any]:
    """Lists with a null or a number beyond 64 bits inside."""
    if any(value is None for value in cell):
        raise BadCellError("holds a null")
    if not all(isinstance(value, int | float) for value in cell):
        raise BadCellError("isn't a list of numbers")
    try:
        return np.array([float(value) for value in cell])
    except OverflowError as error:
        raise BadCellError("holds a number beyond the range of floats") from error


def _by_index(cell: dict[Any, Any]) -> list[Any]:
    """Pandas' and JavaScript's arrays by key: {"0": 0.1, "1": 0.2}."""
    try:
        return [cell[key] for key in sorted(cell, key=int)]
    except (ValueError, TypeError) as error:
        raise BadCellError("is an object, not a vector") from error


def _may_be_text(cell: str) -> bool:
    start = cell[:400].lstrip()
    if start.startswith(("[", "{", "(", "array(", "tensor(", "np.array(", "\\x")):
        return True
    return len(cell) >= _FEWEST_BYTES and (_BASE64.fullmatch(start.rstrip()) is not None or _plain(start))


def _plain(text: str) -> bool:
    """Numbers without brackets: at least four."""
    return not _NUMBERS.sub("", text) and len(re.findall(r"[,;\s]+", text.strip())) >= 3


def _text(cell: str, width: int | None, blob: str | None) -> tuple[NDArray[Any], str]:
    text = cell.strip()
    if not text or text.lower() in ("nan", "null", "none", "\\n"):
        raise BadCellError("is empty" if not text else "is null")
    if len(text) > _LONGEST:
        raise BadCellError(f"is a text of {len(text):,} characters, longer than any vector")
    if text.startswith("\\x"):
        try:
            return _blob(bytes.fromhex(text[2:]), width, blob, "hexadecimal bytes")
        except ValueError as error:
            raise BadCellError("isn't hexadecimal") from error
    if "..." in text or "…" in text:
        raise BadCellError("holds '...', where numpy cut it when it was printed: most of its numbers aren't there")
    if text[0] in '[{(-+.0123456789"' or text[:2] in ("ar", "te", "np", "nu", "to", "Ve", "Ha"):
        try:
            return _parsed(text), "vectors are read from text"
        except ValueError as error:
            if isinstance(error, BadCellError):
                raise
    if _BASE64.fullmatch(text) and len(text) >= 8:
        return _blob(_from_base64(text), width, blob, "base64")
    raise BadCellError(f"isn't a vector: {shortened(text, 40)!r}")


def _parsed(text: str) -> NDArray[Any]:
    if text[0] == "[" and text[-1] == "]" and "," in text:
        try:
            return _listed(json.loads(text), None, None)[0]
        except (ValueError, RecursionError) as error:
            if isinstance(error, BadCellError):
                raise
    sparse = _SPARSE.fullmatch(text)
    if sparse:
        return _sparse(sparse[1], int(sparse[2]))
    bare = _SCALAR.sub(r"\1", _WRAPPED.sub("", text)).strip('"[](){} \n')
    words = bare.replace(",", " ").replace(";", " ").split()
    if not words:
        raise BadCellError("is empty")
    if any(word.lower() in ("null", "none") for word in words):
        raise BadCellError("holds a null")
    return np.array([float(word) for word in words])


def _sparse(pairs: str, width: int) -> NDArray[Any]:
    """pgvector's sparsevec, whose indices begin with 1."""
    if not 0 < width <= 100_000:
        raise BadCellError(f"declares a width of {width}")
    found = np.zeros(width)
    for pair in filter(None, pairs.split(",")):
        index, _, value = pair.partition(":")
        if not 1 <= int(index) <= width:
            raise BadCellError(f"names place {index} of {width}")
        found[int(index) - 1] = float(value)
    return found


def _from_base64(text: str) -> bytes:
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadCellError("isn't base64") from error


def _blob(raw: bytes, width: int | None, blob: str | None, what: str) -> tuple[NDArray[Any], str]:
    if not raw:
        raise BadCellError("is empty")
    if width is not None and len(raw) in (width * 4, width * 8, width * 2):
        blob = blob_type(raw, width)
    found = blob or blob_type(raw)
    if found is None or len(raw) % np.dtype(FLOATS[found]).itemsize:
        if width is not None and len(raw) in (width, width // 8):
            return np.frombuffer(raw, np.uint8), f"vectors are {what} of one byte a number"
        raise BadCellError(f"is {len(raw)} bytes, which aren't little-endian float32 or float64")
    return np.frombuffer(raw, FLOATS[found]), f"vectors are {what} of little-endian {found}"
