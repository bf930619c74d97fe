"""`python -m unembed_stores.faiss_child INDEX SIZE`: an index's vectors and ids on standard output.

First count, width and the length of a description, then the description, then batches: how many rows, their ids as
int64, their vectors as float32.
"""

import sys
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from unembed_stores.faiss import HEADER

_EXACT = ("IndexFlat", "IndexHNSWFlat", "IndexNSGFlat", "IndexIVFFlat", "IndexIVFFlatDedup", "IndexRefineFlat")
Take = Callable[[int, int], NDArray[np.float32]]


def main(path: str, size: int) -> None:
    """Write everything."""
    index = _opened(path)
    kind, ids, take = _layers(index)
    note = "" if _is_exact(kind) else f"{kind} keeps approximations of its vectors: what comes back is near, not equal"
    text = f"{kind}\n{note}".encode()
    out = sys.stdout.buffer
    out.write(HEADER.pack(len(ids), index.d, len(text)) + text)
    for first in range(0, len(ids), size):
        vectors = take(first, min(first + size, len(ids)))
        part = ids[first : first + len(vectors)]
        out.write(HEADER.pack(len(part), 0, 0) + part.astype("<i8").tobytes() + vectors.astype("<f4").tobytes())
    out.flush()


def _opened(path: str) -> Any:
    """The index, its vectors mapped from the file where its kind allows it."""
    try:
        return faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
    except (AttributeError, RuntimeError):
        return faiss.read_index(path)


def _is_exact(kind: str) -> bool:
    return kind.removeprefix("IndexIDMap2 of ").removeprefix("IndexIDMap of ") in (
        *_EXACT,
        "IndexFlatIP",
        "IndexFlatL2",
    )


def _layers(index: Any) -> tuple[str, NDArray[np.int64], Take]:
    """The kind, the ids, and a function that gives rows by their place."""
    index = faiss.downcast_index(index)
    name = type(index).__name__
    if isinstance(index, faiss.IndexIDMap):
        inner, _, take = _layers(index.index)
        return f"{name} of {inner}", faiss.vector_to_array(index.id_map).astype(np.int64), take
    if isinstance(index, faiss.IndexPreTransform):
        inner, ids, take = _layers(index.index)
        steps: Any = index.chain
        chain = [faiss.downcast_VectorTransform(steps.at(place)) for place in range(steps.size())]

        def back(first: int, last: int) -> NDArray[np.float32]:
            vectors = take(first, last)
            for step in reversed(chain):
                vectors = step.reverse_transform(np.ascontiguousarray(vectors))
            return vectors

        return f"{inner} behind {', '.join(type(step).__name__ for step in chain)}", ids, back
    if isinstance(index, faiss.IndexIVF):
        return _inverted(index, name)
    return name, np.arange(index.ntotal, dtype=np.int64), lambda first, last: _reconstructed(index, first, last)


def _reconstructed(index: Any, first: int, last: int) -> NDArray[np.float32]:
    found = np.empty((last - first, index.d), np.float32)
    index.reconstruct_n(first, last - first, found)
    return found


def _inverted(index: Any, name: str) -> tuple[str, NDArray[np.int64], Take]:
    """An IVF index: places run through its lists, so that no direct map has to be built."""
    lists = index.invlists
    sizes = np.array([lists.list_size(at) for at in range(index.nlist)], dtype=np.int64)
    ends = np.cumsum(sizes)
    parts = [faiss.rev_swig_ptr(lists.get_ids(at), int(sizes[at])).copy() for at in range(index.nlist) if sizes[at]]
    ids = np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)

    def take(first: int, last: int) -> NDArray[np.float32]:
        found = np.empty((last - first, index.d), np.float32)
        for row, place in enumerate(range(first, last)):
            at = int(np.searchsorted(ends, place, side="right"))
            offset = place - int(ends[at] - sizes[at])
            index.reconstruct_from_offset(at, offset, faiss.swig_ptr(found[row : row + 1]))
        return found

    return name, ids, take


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__)
