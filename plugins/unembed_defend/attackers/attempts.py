"""Every attacker's attempt at one defence, and which of them a search has to be run for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from unembed import Inverter
from unembed_defend.attackers.denoising import denoising, told, untold
from unembed_defend.attackers.pairs import KnownPairs, pair_counts
from unembed_defend.attackers.seen import Attack, Attempt, Refused, Seen, same_vectors, unit
from unembed_defend.attackers.unaware import unaware

__all__ = ["CLEAN", "Made", "attacks_on", "made_by"]

CLEAN = "clean"  # who inverts vectors without a defence
ENOUGH = 0.001  # of a cosine, by which fewer pairs may fall short of more


@dataclass(frozen=True)
class Made:
    """What an attacker made of a defence: an attempt, with the cosine to the clean vectors, or why there is none.

    `same` names the attacker whose search holds for this one too, their vectors being equal. `behind` names the one
    with other pairs that makes this one's search idle. `inverter` is their own, where they have one.
    """

    attacker: str
    attempt: Attempt | Refused
    cosine: float | None = None
    same: str | None = None
    behind: str | None = None
    inverter: Inverter | None = None


def attacks_on(width: int, *, hears: bool) -> dict[str, Attack]:
    """The attackers of vectors of that width, by name; retraining comes after them, on what they leave.

    `hears` says whether the inverter makes anything of what it is told of noise.
    """
    pairs = {f"{count} pairs": KnownPairs(count) for count in pair_counts(width)}
    return {"unaware": unaware, "told": told if hears else untold, "denoising": denoising, **pairs}


def made_by(attacks: Mapping[str, Attack], seen: Seen, clean: Tensor) -> list[Made]:
    """What each attacker makes of a defence, compared with `clean` `[N, D]`, which none of them has."""
    found: list[Made] = []
    for name, attack in attacks.items():
        made = attack(seen)
        if isinstance(made, Attempt) and bool((made.vectors == 0).all(1).any()):
            made = Refused("some of its vectors are zero, which no text has")
        if isinstance(made, Refused):
            found.append(Made(name, made))
            continue
        cosine = float((unit(made.vectors) * unit(clean)).sum(1).mean())
        same = CLEAN if same_vectors(made.vectors, clean) else None
        if same is None:
            same = next((one.attacker for one in found if one.same is None and _agree(one, made)), None)
        found.append(Made(name, made, cosine, same))
    return _without_idle(found)


def _agree(one: Made, made: Attempt) -> bool:
    other = one.attempt
    return (
        isinstance(other, Attempt) and other.precision == made.precision and same_vectors(other.vectors, made.vectors)
    )


def _without_idle(found: list[Made]) -> list[Made]:
    """Of those with known pairs the one with the fewest that comes as near as any is searched for."""
    pairs = [one for one in found if one.attacker.endswith(" pairs") and one.cosine is not None]
    if not pairs:
        return found
    nearest = max(one.cosine or 0.0 for one in pairs)
    picked = next(one for one in pairs if (one.cosine or 0.0) >= nearest - ENOUGH)
    return [
        replace(one, behind=picked.attacker) if one in pairs and one is not picked and one.same is None else one
        for one in found
    ]
