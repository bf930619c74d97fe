"""What the vectors of a known embedder look like: where they point on average, and how far each value strays."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from unembed.errors import InputError

__all__ = ["SHIPPED", "WIDTHS", "Signature", "learn", "read_signatures", "unit", "write_signatures"]

SHIPPED = Path(__file__).parent / "signatures.safetensors"
LEAST = 50  # texts that a signature is learnt from
FLOOR = 0.25  # of the median deviation

Vectors = NDArray[np.float32]

# Common models by the width of their vectors, for whom no signature may be known: a width proves nothing.
WIDTHS: Mapping[int, tuple[str, ...]] = {
    256: ("text-embedding-3 shortened", "potion-base"),
    384: ("all-MiniLM-L6-v2", "all-MiniLM-L12-v2", "bge-small", "e5-small", "gte-small", "multilingual-e5-small"),
    512: ("text-embedding-3-small shortened", "CLIP ViT-B/32"),
    768: ("all-mpnet-base-v2", "bge-base", "e5-base", "gtr-t5-base", "nomic-embed-text"),
    1024: ("bge-large", "bge-m3", "e5-large", "mxbai-embed-large", "Cohere embed v3", "voyage-3"),
    1536: ("text-embedding-ada-002", "text-embedding-3-small"),
    3072: ("text-embedding-3-large", "gemini-embedding-001"),
    4096: ("e5-mistral-7b-instruct", "other embedders of 7-billion language models"),
}


@dataclass(frozen=True)
class Signature:
    """Of an embedder's unit vectors, the mean and standard deviation `[D]` of each value; of its raw ones, the norm.

    `typical` is the mean `evidence` of vectors that they weren't taken from, of texts of the same kind.
    """

    name: str
    mean: Vectors
    deviation: Vectors
    norm: tuple[float, float]
    typical: float
    n: int
    texts: str

    @property
    def width(self) -> int:
        """The width of the vectors."""
        return len(self.mean)

    def floored(self, deviation: "NDArray[Any]") -> NDArray[np.float64]:
        """Deviations `[D]` as they are compared: some models have values that never change, which rounding would."""
        found: NDArray[np.float64] = np.hypot(deviation.astype(np.float64), FLOOR * np.median(self.deviation))
        return found

    def evidence(self, units: Vectors) -> NDArray[np.float64]:
        """How much likelier unit vectors `[N, D]` are under this signature than as random directions, in nats: `[N]`.

        Both are Gaussians with independent values; the logarithm of the ratio of their densities, above 0 in favour.
        """
        deviation = self.floored(self.deviation)
        away = (units.astype(np.float64) - self.mean) / deviation
        ours = (-0.5 * away**2 - np.log(deviation)).sum(1)
        random = -0.5 * self.width * (1 - np.log(self.width))
        found: NDArray[np.float64] = ours - random
        return found


def unit(vectors: Vectors) -> Vectors:
    """Vectors `[N, D]` scaled to length 1."""
    found: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    return found


def learn(name: str, vectors: Vectors, *, texts: str) -> Signature:
    """The signature of an embedder from its vectors `[N, D]` of ordinary texts; `texts` says which. Raises InputError.

    Half of the vectors give the means and deviations, the other half what is typical.
    """
    if len(vectors) < 2 * LEAST:
        raise InputError(f"a signature is learnt from {2 * LEAST} texts or more; got {len(vectors)}")
    norms = np.linalg.norm(vectors, axis=1)
    units = unit(vectors)
    half, other = units[::2].astype(np.float64), units[1::2]
    # Rounded to what is kept, so that a signature read back is the same.
    mean = half.mean(0).astype(np.float16).astype(np.float32)
    deviation = half.std(0).clip(1e-4).astype(np.float16).astype(np.float32)
    found = Signature(name, mean, deviation, (float(norms.mean()), float(norms.std())), 0.0, len(vectors), texts)
    return replace(found, typical=float(found.evidence(other).mean()))


def write_signatures(signatures: Sequence[Signature], path: Path) -> None:
    """Write signatures as one safetensors file."""
    tensors: dict[str, NDArray[Any]] = {}
    facts: dict[str, Any] = {}
    for one in signatures:
        tensors[f"mean/{one.name}"] = one.mean.astype(np.float16)
        tensors[f"deviation/{one.name}"] = one.deviation.astype(np.float16)
        facts[one.name] = {
            "norm": [round(x, 6) for x in one.norm],
            "typical": round(one.typical, 2),
            "n": one.n,
            "texts": one.texts,
        }
    save_file(tensors, path, metadata={"signatures": json.dumps(facts, sort_keys=True)})


def read_signatures(path: Path = SHIPPED) -> list[Signature]:
    """The signatures of a file; raises InputError."""
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["signatures"])
            return [
                Signature(
                    name,
                    file.get_tensor(f"mean/{name}").astype(np.float32),
                    file.get_tensor(f"deviation/{name}").astype(np.float32),
                    (float(known["norm"][0]), float(known["norm"][1])),
                    float(known["typical"]),
                    int(known["n"]),
                    str(known["texts"]),
                )
                for name, known in facts.items()
            ]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise InputError(f"{path} holds no signatures of embedders: {error}") from error
