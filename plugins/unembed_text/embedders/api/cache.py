"""Answers kept on disk, so that nothing is paid for twice and a killed run goes on where it was."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unembed.errors import InputError, MissingExtraError

__all__ = ["VectorCache"]

LIMIT = 2**36  # bytes of address space, not of disk


class VectorCache:
    """Vectors by (service, model, dimensions) and text, in LMDB: safe to share between threads and processes."""

    def __init__(self, folder: Path, *, space: str) -> None:
        self._database = _open(str(folder))
        self._space = space

    def get(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """The vectors that are known, by text."""
        found = {}
        with self._database.begin() as reading:
            for text in texts:
                value = reading.get(self._key(text))
                if value is not None:
                    found[text] = torch.from_numpy(np.frombuffer(value, dtype="<f4").copy())
        return found

    def put(self, vectors: Mapping[str, Tensor]) -> None:
        """Keep vectors by text; they are on disk when this returns."""
        with self._database.begin(write=True) as writing:
            for text, vector in vectors.items():
                writing.put(self._key(text), vector.numpy().astype("<f4").tobytes())

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._space}\0{text}".encode()).digest()


@cache
def _open(folder: str) -> Any:
    """LMDB wants one handle a process and folder."""
    try:
        import lmdb
    except ImportError as error:
        raise MissingExtraError("embedding APIs need an extra: pip install 'unembed[api]'") from error
    try:
        os.makedirs(folder, exist_ok=True)
        return lmdb.open(folder, map_size=LIMIT, max_readers=512)
    except (OSError, lmdb.Error) as error:
        raise InputError(f"can't open the cache of embeddings at {folder}: {error}; set UNEMBED_CACHE") from error
