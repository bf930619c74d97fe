"""Telling embedders apart by what they answer to a few fixed inputs."""

import hashlib
import json
from typing import Any

import torch

from unembed.interfaces import Codec, Embedder

__all__ = ["fingerprint", "same"]

_DIMENSIONS = 16
_SUMS = 4


def fingerprint(embedder: Embedder, codec: Codec) -> dict[str, Any]:
    """The first values of the embeddings of `codec.probes` and sums over all of them, and a short hash to name it by.

    The sums, weighted by sines, tell apart embeddings that are zero nearly everywhere, the first values included.
    """
    vectors = embedder.embed(codec.encode(list(codec.probes))).double().cpu()
    place, wave = torch.arange(1, vectors.shape[1] + 1), torch.arange(1, _SUMS + 1) * (1 + 5**0.5) / 2
    sums = vectors @ torch.sin(place[:, None] * wave).double()
    values = [[round(x, 3) for x in row[:_DIMENSIONS].tolist()] for row in vectors]
    rounded = [[round(x, 3) for x in row.tolist()] for row in sums]
    digest = hashlib.sha256(
        json.dumps([[round(x, 1) + 0.0 for x in row] for table in (values, rounded) for row in table]).encode()
    )
    return {"hash": digest.hexdigest()[:12], "dimension": embedder.dimension, "values": values, "sums": rounded}


def same(a: dict[str, Any], b: dict[str, Any], *, tolerance: float = 0.01) -> bool:
    """Whether two fingerprints are of one embedder; half precision and other hardware still agree.

    Checkpoints of version 0.1 have no sums; theirs are taken to agree.
    """
    if a["dimension"] != b["dimension"]:
        return False
    return all(_near(a[key], b[key], tolerance) for key in ("values", "sums") if key in a and key in b)


def _near(a: list[list[float]], b: list[list[float]], tolerance: float) -> bool:
    rows = [list(zip(p, q, strict=True)) for p, q in zip(a, b, strict=True)] if len(a) == len(b) else None
    return rows is not None and all(abs(x - y) <= tolerance * max(1, abs(x)) for row in rows for x, y in row)
