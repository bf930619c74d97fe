"""Telling embedders apart by what they answer to a few fixed inputs."""

import hashlib
import json
from typing import Any

from unembed.interfaces import Codec, Embedder

__all__ = ["fingerprint", "same"]

_DIMENSIONS = 16


def fingerprint(embedder: Embedder, codec: Codec) -> dict[str, Any]:
    """The first values of the embeddings of `codec.probes`, rounded, and a short hash to name them by."""
    vectors = embedder.embed(codec.encode(list(codec.probes)))
    values = [[round(x, 3) for x in row[:_DIMENSIONS].tolist()] for row in vectors]
    digest = hashlib.sha256(json.dumps([[round(x, 1) + 0.0 for x in row] for row in values]).encode())
    return {"hash": digest.hexdigest()[:12], "dimension": embedder.dimension, "values": values}


def same(a: dict[str, Any], b: dict[str, Any], *, tolerance: float = 0.01) -> bool:
    """Whether two fingerprints are of one embedder; half precision and other hardware still agree."""
    if a["dimension"] != b["dimension"] or len(a["values"]) != len(b["values"]):
        return False
    pairs = zip(a["values"], b["values"], strict=True)
    return all(abs(x - y) <= tolerance for p, q in pairs for x, y in zip(p, q, strict=True))
