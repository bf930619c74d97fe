"""What an attacker has before them, and what they make of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from unembed.contract.defence import Defence

__all__ = ["NEAR", "Attack", "Attempt", "Refused", "Seen", "noise_of", "same_vectors", "unit"]

NEAR = 1 - 1e-6  # mean cosine from which nothing but float32's own rounding is left
SAME = 1e-5  # of a value of unit vectors: closer than that, a search can't tell them apart


@dataclass(frozen=True)
class Seen:
    """What lies before an attacker of one defence.

    `stored` `[N, E]` is what they want to invert. `public` `[P, D]` are clean vectors of other texts, and
    `public_stored` `[P, E]` what the defence made of those: pairs, as far as an attack is given any. `width` is D.
    """

    defence: Defence
    stored: Tensor
    public: Tensor
    public_stored: Tensor

    @property
    def width(self) -> int:
        """Of clean vectors, which is what an inverter takes."""
        return self.public.shape[1]


@dataclass(frozen=True)
class Attempt:
    """What is given to the search: vectors `[N, D]`, the `precision` that it is told, and in words how both were had.

    A `precision` of None leaves it to what the vectors' digits show. `checked` is the mean cosine that the attacker
    measured on pairs that they held back, where they had any.
    """

    vectors: Tensor
    precision: str | None
    how: str
    checked: float | None = None


@dataclass(frozen=True)
class Refused:
    """An attack that doesn't apply here (`applies` is False), or couldn't be run, and why."""

    why: str
    applies: bool = False


Attack = Callable[[Seen], Attempt | Refused]


def unit(vectors: Tensor) -> Tensor:
    """Scaled to length 1."""
    return F.normalize(vectors.float(), dim=1)


def same_vectors(one: Tensor, other: Tensor) -> bool:
    """Whether a search would take these vectors for those."""
    return one.shape == other.shape and float((unit(one) - unit(other)).abs().max()) <= SAME


def noise_of(cosine: float, width: int) -> float:
    """The noise on each value of unit vectors that leaves so mean a cosine: its tangent, spread over the values."""
    cosine = min(1.0, max(cosine, 0.05))
    return math.sqrt(max(0.0, 1 / cosine**2 - 1) / width)
