"""How hard to search: named sets of the loop's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from unembed.defaults import BEAM, PATIENCE, STEPS
from unembed.errors import InputError

__all__ = ["EFFORTS", "Effort", "effort"]


@dataclass(frozen=True)
class Effort:
    """Settings of `unembed.search`; edits are made where the inverter has an editor."""

    steps: int
    beam: int
    branch: int
    guesses: int | None = None
    edits: int = 0
    elite: int = 1
    patience: int = PATIENCE
    max_queries: int | None = None
    siblings: int | None = None


EFFORTS: dict[str, Effort] = {
    "low": Effort(steps=4, beam=4, branch=4),
    "medium": Effort(steps=STEPS, beam=BEAM, branch=BEAM),
    "high": Effort(steps=30, beam=8, branch=8, edits=64, elite=2, patience=6, max_queries=5000),
    "max": Effort(steps=30, beam=8, branch=64, edits=16, elite=2, patience=6, max_queries=5000),
}


def effort(
    name: str,
    *,
    steps: int | None = None,
    beam: int | None = None,
    max_queries: int | None = None,
    efforts: Mapping[str, Effort] = EFFORTS,
) -> Effort:
    """The settings of a name among `efforts`, with whatever else is given in place of its own; raises InputError."""
    if name not in efforts:
        raise InputError(f"no effort {name!r}; the efforts are {', '.join(efforts)}")
    wrong = (steps is not None and steps < 0) or any(x is not None and x < 1 for x in (beam, max_queries))
    if wrong:
        raise InputError(
            f"steps must be at least 0 and beam and max_queries at least 1; got {steps}, {beam}, {max_queries}"
        )
    found = efforts[name]
    if steps is not None:
        found = replace(found, steps=steps)
    if beam is not None:
        guesses = None if found.guesses is None else max(found.guesses, beam)
        found = replace(found, beam=beam, branch=beam, guesses=guesses, siblings=None)
    if max_queries is not None:
        found = replace(found, max_queries=max_queries)
    return found
