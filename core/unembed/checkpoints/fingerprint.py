"""Telling embedders apart by what they answer to a few fixed inputs."""

import hashlib
import json

import torch

from unembed.checkpoints.manifest import Fingerprint
from unembed.contract.codec import Codec
from unembed.contract.embedder import Embedder

__all__ = ["fingerprint", "same"]

_DIMENSIONS = 16
_SUMS = 4


def fingerprint(embedder: Embedder, codec: Codec) -> Fingerprint:
    """The first values of the embeddings of `codec.probes`, sums over all of them, lengths, and a short hash as a name.

    The sums, weighted by sines, tell apart embeddings that are zero nearly everywhere, the first values included.
    `embedder` is asked once for each probe; `codec` turns the probes into its signals.

    Examples:
        >>> import unembed
        >>> from unembed.testing.toy import toy_inverter
        >>> inverter = toy_inverter()
        >>> found = unembed.fingerprint(inverter.embedder, inverter.codec)
        >>> found.dimension, len(found.hash)
        (24, 12)
    """
    vectors = embedder.embed(codec.encode(list(codec.probes))).double().cpu()
    place, wave = torch.arange(1, vectors.shape[1] + 1), torch.arange(1, _SUMS + 1) * (1 + 5**0.5) / 2
    sums = vectors @ torch.sin(place[:, None] * wave).double()
    values = [[round(x, 3) for x in row[:_DIMENSIONS].tolist()] for row in vectors]
    rounded = [[round(x, 3) for x in row.tolist()] for row in sums]
    digest = hashlib.sha256(
        json.dumps([[round(x, 1) + 0.0 for x in row] for table in (values, rounded) for row in table]).encode()
    )
    return Fingerprint(
        hash=digest.hexdigest()[:12],
        dimension=embedder.dimension,
        values=values,
        sums=rounded,
        lengths=[round(x, 3) for x in vectors.norm(dim=1).tolist()],
    )


def same(a: Fingerprint, b: Fingerprint, *, tolerance: float = 0.01) -> bool:
    """Whether two fingerprints are of one embedder; half precision and other hardware still agree.

    A number may differ by `tolerance` times itself, its embedding's length or 1, whichever is greatest. Old checkpoints
    lack sums, which are then taken to agree, or lengths.
    """
    if a.dimension != b.dimension:
        return False
    lengths = a.lengths or b.lengths or [1.0] * len(a.values)
    tables = [(a.values, b.values), (a.sums or b.sums, b.sums or a.sums)]
    return all(_near(x, y, lengths, tolerance) for x, y in tables if x is not None and y is not None)


def _near(a: list[list[float]], b: list[list[float]], lengths: list[float], tolerance: float) -> bool:
    if not len(a) == len(b) == len(lengths) or list(map(len, a)) != list(map(len, b)):
        return False
    rows = zip(a, b, lengths, strict=True)
    return all(abs(x - y) <= tolerance * max(1, n, abs(x)) for p, q, n in rows for x, y in zip(p, q, strict=True))
