"""How hard to search, as data: a start move, moves, breadth and limits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TypedDict

from unembed.defaults import BEAM
from unembed.engine.limits import Limits
from unembed.engine.moves import Combine, Correct, Edit, Either, Guess, Move, Widen
from unembed.errors import InputError, PluginError

__all__ = ["EFFORTS", "EXHAUSTIVE", "Effort", "Overrides", "effort_of"]


_GUESS, _CORRECT, _LIMITS = Guess(), Correct(), Limits()


class Overrides(TypedDict, total=False):
    """What a user may set in place of an effort's own; None leaves it."""

    steps: int | None
    beam: int | None
    patience: int | None
    max_queries: int | None


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How a search goes; an inverter names some (`low`, `medium`, `high`, `max`, `exhaustive`), and
    `invert` takes others.

    - `start`: the move of round 0, which makes the first candidates.
    - `moves`: those of every later round, in the order in which they draw and spend. Those whose parts an inverter
      lacks are left out.
    - `beam`: candidates worked on per target and round.
    - `elite`: how many of the best ever seen moves can work on.
    - `limits`: what ends the search for a target.
    - `here`: it asks too much of a metered embedder (a server, an API) unless a user says how much it may ask.
    """

    start: Move = _GUESS
    moves: tuple[Move, ...] = (_CORRECT,)
    beam: int = BEAM
    elite: int = 1
    limits: Limits = _LIMITS
    here: bool = False

    def __post_init__(self) -> None:
        for name, value in (("beam", self.beam), ("elite", self.elite)):
            if value < 1:
                raise InputError(f"{name} must be at least 1; got {value}")

    @property
    def widths(self) -> tuple[int, ...]:
        """The widest of the moves' `widths`, each going on with its last."""
        each = [move.widths for move in self.moves] or [(1,)]
        return tuple(
            max(widths[min(place, len(widths) - 1)] for widths in each) for place in range(max(map(len, each)))
        )

    @property
    def depth(self) -> int:
        """How many candidates per target wait to be worked on at most."""
        return 2 * self.beam * max(self.widths)

    def override(
        self,
        steps: int | None = None,
        beam: int | None = None,
        patience: int | None = None,
        max_queries: int | None = None,
    ) -> "Effort":
        """The effort with what is given in place of its own; `beam` sets the corrections of each candidate too."""
        changes = {"steps": steps, "patience": patience, "max_queries": max_queries}
        for name, value in {**changes, "beam": beam}.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
                raise InputError(f"{name} must be a whole number; got {value!r}")
        limits = replace(self.limits, **{name: value for name, value in changes.items() if value is not None})
        if beam is None:
            return replace(self, limits=limits)
        moves = tuple(move.for_beam(beam) for move in self.moves)
        return replace(self, start=self.start.for_beam(beam), moves=moves, beam=beam, limits=limits)

    def fitted(self, parts: Collection[str]) -> "Effort":
        """The effort with the moves that parts of these names allow; raises PluginError when no start is left."""
        start = self.start.fitted(parts)
        if start is None:
            raise PluginError(
                f"a search can't start: {self.start.name!r} needs {', '.join(self.start.needs)}; the inverter has "
                f"{', '.join(parts) or 'no parts'}"
            )
        moves = tuple(found for move in self.moves if (found := move.fitted(parts)) is not None)
        return replace(self, start=start, moves=moves)

    def most(self) -> int:
        """Maximum queries per target, its moves being those that are fitted to an inverter."""
        most = self.start.most(self.beam) + self.limits.steps * sum(move.most(self.beam) for move in self.moves)
        return most if self.limits.max_queries is None else min(most, self.limits.max_queries)


_LONG = Limits(steps=30, patience=6, max_queries=5000)
EXHAUSTIVE = Limits(steps=60, patience=8, max_queries=60_000)

EFFORTS: dict[str, Effort] = {
    "low": Effort(beam=4, limits=Limits(steps=4)),
    "medium": Effort(),
    "high": Effort(
        moves=(
            Correct(count=8),
            Either(moves=(Combine(count=128, keep=2), Edit(count=64, elite=2, keep=2))),
        ),
        elite=2,
        limits=_LONG,
    ),
    "max": Effort(
        moves=(
            Correct(count=64),
            Either(moves=(Combine(count=32, keep=2), Edit(count=16, elite=2, keep=2))),
        ),
        elite=2,
        limits=_LONG,
    ),
    "exhaustive": Effort(
        moves=(
            Widen(inner=Correct(count=64), factors=(1, 2, 4, 8)),
            Either(moves=(Combine(count=32, keep=2), Edit(count=16, elite=2, keep=2))),
        ),
        elite=2,
        limits=EXHAUSTIVE,
        here=True,
    ),
}


def effort_of(given: str | Effort, efforts: Mapping[str, Effort] = EFFORTS) -> Effort:
    """The effort that is given, or that has the given name among `efforts`; raises InputError."""
    if isinstance(given, Effort):
        return given
    if given not in efforts:
        raise InputError(f"no effort {given!r}; the efforts are {', '.join(efforts)}")
    return efforts[given]
