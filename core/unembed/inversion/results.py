"""What comes back of an inversion."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unembed.engine.loop import Step

__all__ = ["Inversion"]


@dataclass(frozen=True)
class Inversion:
    """What came back for N vectors: objects, and for each its similarity, cost and reason to stop.

    `similarity`, `signals` and `embeddings` are those of the objects as returned, embedded once more where
    decoding changed a signal. `confidence` is the probability that a result is exact, if the inverter has been
    calibrated; it holds for vectors in the precision that the embedder gives them.
    """

    objects: list[Any]
    similarity: Tensor
    steps: Tensor
    queries: Tensor
    stopped: tuple[str, ...]
    signals: Tensor
    embeddings: Tensor
    trace: tuple[Step, ...] | None
    confidence: Tensor | None = None
