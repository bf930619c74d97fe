"""Attackers with texts whose stored vectors they know: they fit a map back to clean vectors."""

from dataclasses import dataclass

from unembed.inversion.precision import estimate_precision
from unembed_defend.attackers.maps import best_back
from unembed_defend.attackers.seen import NEAR, Attempt, Refused, Seen, noise_of

__all__ = ["KnownPairs", "pair_counts"]


@dataclass(frozen=True)
class KnownPairs:
    """An attack with so many `pairs`."""

    pairs: int

    def __call__(self, seen: Seen) -> Attempt | Refused:
        """The map back that fits pairs held back best; the search is told what is off on those."""
        if len(seen.public) < self.pairs:
            return Refused(f"needs {self.pairs} other texts; there are {len(seen.public)}", applies=True)
        stored, clean = seen.public_stored[: self.pairs], seen.public[: self.pairs]
        found = best_back(stored, clean)
        vectors = found.map(seen.stored)
        how = f"map fitted to {self.pairs} pairs: {found.shape}"
        if found.shape in ("none", "assignment") and estimate_precision(vectors).summary is not None:
            return Attempt(vectors, None, f"{how}; rounding read from the digits", found.cosine)
        if found.cosine >= NEAR:
            return Attempt(vectors, "float32", how, found.cosine)
        sigma = noise_of(found.cosine, seen.width)
        return Attempt(vectors, f"noise:{sigma:.6f}", f"{how}, {sigma:.4f} a value told to the search", found.cosine)


def pair_counts(width: int) -> tuple[int, ...]:
    """How many pairs are tried for vectors of that width: 10, 20, half of it, all of it and ten times it."""
    return tuple(sorted({10, 20, max(1, width // 2), width, 10 * width}))
