"""The move of an adapted inverter: a move of its base, made in the base's own space."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch

from unembed.contract.proposers import Part
from unembed.engine.effort import Effort
from unembed.engine.moves import Asking, Guess, Move
from unembed.engine.rows import counts, rank_ordered
from unembed.engine.state import Candidates, Parts, State

__all__ = ["Toward", "aimed_effort", "there"]

EVIDENCE = 32  # hypotheses by which a target's place in the base's space is estimated


@dataclass(frozen=True, kw_only=True)
class Toward(Move):
    """A move of the base toward a target whose place in the base's space is estimated by the best of all hypotheses.

    As many of them as the effort's `elite` count. The inner move sees the base's vectors in place of the new
    embedder's and calls the base's own parts; it mustn't read the answers to what it asks.
    """

    inner: Move
    needs = ("estimate", "locate")

    @property
    def on(self) -> str:  # type: ignore[override]
        """The inner move's."""
        return self.inner.on

    @property
    def keep(self) -> int | None:
        """The inner move's."""
        return self.inner.keep

    @property
    def widths(self) -> tuple[int, ...]:
        """The inner move's."""
        return self.inner.widths

    @property
    def name(self) -> str:
        """The inner move's."""
        return self.inner.name

    def ask(self, state: State, parts: Parts, generator: torch.Generator) -> Asking:
        """See `Move`."""
        own = Parts({name: parts[_there(name)] for name in self.inner.needs}, parts.chunked)
        yield from self.inner.ask(_in_base(state, parts), own, generator)

    def most(self, beam: int) -> int:
        """See `Move`."""
        return self.inner.most(beam)

    def for_beam(self, beam: int) -> Move:
        """See `Move`."""
        return replace(self, inner=self.inner.for_beam(beam))

    def fitted(self, parts: Collection[str]) -> Move | None:
        """See `Move`."""
        inner = self.inner.fitted([name for name in ("correct", "edit") if _there(name) in parts])
        return None if inner is None or not set(self.needs) <= set(parts) else replace(self, inner=inner)


def aimed_effort(effort: Effort) -> Effort:
    """An effort of the base for an adapted inverter: its moves made toward an estimate, from plain guesses."""
    start = effort.start if isinstance(effort.start, Guess) else Guess()
    moves = tuple(Toward(inner=move) for move in effort.moves)
    return replace(effort, start=start, moves=moves, elite=max(effort.elite, EVIDENCE))


def there(parts: dict[str, Part]) -> dict[str, Part]:
    """The base's parts under the names by which `Toward` calls them."""
    return {_there(name): part for name, part in parts.items()}


def _there(name: str) -> str:
    return f"base {name}"


def _in_base(state: State, parts: Parts) -> State:
    """The state with the base's vectors in place of the new embedder's; targets that are done stay empty."""
    best, total = state.best, len(state.target)
    number = counts(best.owner, total)
    rank, most = rank_ordered(best.owner), int(number.max())
    signals = best.signals.new_zeros(total, most, *best.signals.shape[1:])
    embeddings = best.embeddings.new_zeros(total, most, best.embeddings.shape[1])
    signals[best.owner, rank], embeddings[best.owner, rank] = best.signals, best.embeddings
    live = number.nonzero().flatten()
    found = parts["estimate"](state.target[live], signals[live], embeddings[live], number[live])
    target = found.new_zeros(total, found.shape[1]).index_copy(0, live, found)

    def moved(rows: Candidates) -> Candidates:
        if not len(rows):
            return replace(rows, embeddings=found.new_zeros(0, found.shape[1]))
        return replace(rows, embeddings=parts["locate"](rows.signals))

    return replace(state, target=target, frontier=moved(state.frontier), top=moved(state.top))
