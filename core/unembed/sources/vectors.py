"""All vectors of a source as one array."""

from pathlib import Path

import numpy as np

from unembed.errors import InputError
from unembed.sources.opening import open_source
from unembed.sources.records import Vectors

__all__ = ["read_vectors"]


def read_vectors(path: str | Path, column: str | None = None, *, name: str | None = None) -> Vectors:
    """The live vectors of anything that `open_source` opens, as one float32 array `[N, D]`.

    `column` (or `name`) says which array, column, tensor or field to take; without it the only one that can be
    meant, or else one called `embedding` or `vector`. A single vector `[D]` counts as one row. Raises InputError,
    also for the first row that holds no vector, NaN or only zeros: rows of the array are rows of the source.
    `path` is that of a file or folder, or a server's URL.

    Examples:
        >>> import numpy as np
        >>> import unembed
        >>> np.save("vectors.npy", np.ones((5, 384), "float32"))
        >>> unembed.read_vectors("vectors.npy").shape
        (5, 384)
    """
    source = open_source(
        path, column if column is not None else name, deleted=False, payloads=False, strict=True, undo=False
    )
    if len(source.widths) == 1 and source.count is not None:
        whole = np.empty((source.count, source.width), np.float32)
        filled = 0
        for batch in source.batches(4096):
            if batch.vectors.shape[1] != source.width or filled + len(batch) > source.count:
                break
            whole[filled : filled + len(batch)] = batch.vectors
            filled += len(batch)
        else:
            return whole[:filled]
    parts = [batch.vectors for batch in source.batches(4096)]
    if len(source.widths) > 1:
        widths = ", ".join(map(str, source.widths))
        raise InputError(f"{source.place} holds vectors of several widths ({widths}); read it with open_source")
    return np.concatenate(parts)
