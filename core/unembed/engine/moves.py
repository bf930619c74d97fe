"""The ways to propose in a round. A move says what it wants embedded, is sent the answers, and may ask again."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unembed.contract.proposers import Part
from unembed.engine.rows import rank_ordered, rank_within
from unembed.engine.state import Ask, Candidates, Parts, State
from unembed.errors import InputError

__all__ = ["Asking", "Combine", "Correct", "Edit", "Either", "Guess", "Move", "Widen"]

Asking = Generator[Ask, Candidates, None]  # yields what to embed, is sent the rows that were new; may yield again


class Move(ABC):
    """One way to propose. A subclass is a frozen dataclass: an effort is data.

    - `needs`: the parts that it calls; it is left out where an inverter lacks one.
    - `on`: what it works on, `State.frontier` or `State.best`. With one on the best a search goes on when no
      candidate waits to be worked on.
    - `keep`: how many of its new candidates may be worked on themselves, the best: of one parent's on the frontier,
      of a target's on the best. None: all. 0: none, they are evidence (the best ever seen is kept in any case).
    - `widths`: how many times the effort's beam the frontier has after 0, 1, … rounds without gain; the last goes on.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    on: ClassVar[Literal["frontier", "best"]] = "frontier"

    @property
    def keep(self) -> int | None:
        """See the class."""
        return None

    @property
    def widths(self) -> tuple[int, ...]:
        """See the class."""
        return (1,)

    @property
    def name(self) -> str:
        """What a step calls it."""
        return type(self).__name__.lower()

    @abstractmethod
    def ask(self, state: State, parts: Parts, generator: torch.Generator) -> Asking:
        """Yield an `Ask`, be sent the rows of it that were new as `Candidates`, and perhaps yield another.

        All randomness comes from `generator`; nothing in `state` is changed.
        """

    @abstractmethod
    def most(self, beam: int) -> int:
        """Maximum queries per target in a round of `beam` candidates: what a forecast counts."""

    def for_beam(self, beam: int) -> "Move":
        """The move to use when a user asks for another beam than the effort's."""
        return self

    def fitted(self, parts: Collection[str]) -> "Move | None":
        """The move to use with parts of these names, if there is one."""
        return self if set(self.needs) <= set(parts) else None


@dataclass(frozen=True, kw_only=True)
class Guess(Move):
    """The hypothesizer's guesses: `count` per target, as many as the beam if None."""

    needs = ("guess",)
    count: int | None = None

    def ask(self, state: State, parts: Parts, generator: torch.Generator) -> Asking:
        """See `Move`."""
        yield self.guesses(state, parts["guess"], generator)

    def guesses(self, state: State, part: Part, generator: torch.Generator) -> Ask:
        """What a part guesses for every target."""
        made = part(state.target, self.count or state.beam, generator)
        return replace(Ask.ranked(torch.arange(len(made), device=made.device), made), parent=None)

    def most(self, beam: int) -> int:
        """See `Move`."""
        return self.count or beam

    def for_beam(self, beam: int) -> Move:
        """At least as many guesses as the beam."""
        return self if self.count is None else replace(self, count=max(self.count, beam))


@dataclass(frozen=True, kw_only=True)
class Correct(Move):
    """Corrections of the frontier: `count` of each candidate, as many as the beam if None."""

    needs = ("correct",)
    count: int | None = None
    keep: int | None = None

    def ask(self, state: State, parts: Parts, generator: torch.Generator) -> Asking:
        """See `Move`."""
        rows = state.frontier
        if len(rows):
            count = self.count or state.beam
            made = parts["correct"](state.target[rows.owner], rows.signals, rows.embeddings, count, generator)
            yield Ask.ranked(rows.owner, made)

    def most(self, beam: int) -> int:
        """See `Move`."""
        return beam * (self.count or beam)

    def for_beam(self, beam: int) -> Move:
        """As many corrections as the beam, and all of them kept."""
        return replace(self, count=None, keep=None)


@dataclass(frozen=True, kw_only=True)
class Edit(Move):
    """Small changes of the `elite` best candidates ever seen: `count` new ones of each.

    The editor is asked for `oversample` times as many, since those that a target has met are passed over: a candidate
    that stays the best is edited further down the editor's list.
    """

    needs = ("edit",)
    on = "best"
    count: int
    elite: int = 1
    keep: int | None = 1
    oversample: int = 4

    def ask(self, state: State, parts: Parts, generator: torch.Generator) -> Asking:
        """See `Move`."""
        chosen = _first(state.best, self.elite)
        if len(chosen):
            yield _edits(state, parts, generator, chosen, self.oversample * self.count, self.count * self.elite)

    def most(self, beam: int) -> int:
        """See `Move`."""
        return self.count * self.elite


@dataclass(frozen=True, kw_only=True)
class Combine(Move):
    """Edits of the best candidate, and then what an editor makes of all of them once the black box has answered.

    `count` edits are tried, of `oversample` times as many; then `combinations` of them are asked for, `rounds` times:
    from the second on with the answers to the first.
    """

    needs = ("edit", "combine")
    on = "best"
    count: int
    keep: int | None = 1
    oversample: int = 4
    combinations: int = 8
    rounds: int = 2

    def ask(self, state: State, parts: Parts, generator: torch.Generator) -> Asking:
        """See `Move`."""
        chosen = _first(state.best, 1)
        if not len(chosen):
            return
        tried = new = yield _edits(state, parts, generator, chosen, self.oversample * self.count, self.count)
        for _ in range(self.rounds):
            if not len(new):
                return
            new = yield _combinations(state, parts, chosen, tried, self.combinations)
            tried = Candidates.cat([tried, new])

    def most(self, beam: int) -> int:
        """See `Move`."""
        return self.count + self.rounds * self.combinations


@dataclass(frozen=True, kw_only=True)
class Either(Move):
    """The first of `moves` whose parts an inverter has."""

    moves: tuple[Move, ...]

    def fitted(self, parts: Collection[str]) -> Move | None:
        """See `Move`."""
        return next((found for move in self.moves if (found := move.fitted(parts)) is not None), None)

    def for_beam(self, beam: int) -> Move:
        """See `Move`."""
        return replace(self, moves=tuple(move.for_beam(beam) for move in self.moves))

    def ask(self, state: State, parts: Parts, generator: torch.Generator) -> Asking:
        """A search asks the move that was chosen."""
        raise NotImplementedError("Either stands for one of its moves: call fitted(parts) first")

    def most(self, beam: int) -> int:
        """See `Move`."""
        return max(move.most(beam) for move in self.moves)


@dataclass(frozen=True, kw_only=True)
class Widen(Move):
    """A move on the frontier with more parents for targets that stay unsolved: breadth is spent where it is needed.

    `factors[q]` is how many times the beam is worked on after q rounds without gain, the last of them from then on;
    a gain makes it narrow again. Parents are taken a beam at a time, the best first, and each beam's answers are had
    before the next is asked: a target that they solve costs no more, and a wide round holds no more candidates at
    once than a narrow one.
    """

    inner: Move
    factors: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self) -> None:
        if not self.factors or min(self.factors) < 1:
            raise InputError(f"Widen takes factors of 1 or more; got {self.factors}")
        if self.inner.on != "frontier":
            raise InputError(f"Widen gives a move more of the frontier; {self.inner.name!r} works on the best")

    @property
    def keep(self) -> int | None:
        """The inner move's."""
        return self.inner.keep

    @property
    def widths(self) -> tuple[int, ...]:
        """See `Move`."""
        return self.factors

    @property
    def name(self) -> str:
        """The inner move's."""
        return self.inner.name

    def ask(self, state: State, parts: Parts, generator: torch.Generator) -> Asking:
        """See `Move`."""
        place = torch.arange(len(state.frontier), device=state.target.device)
        wave = rank_ordered(state.frontier.owner) // state.beam
        unsolved = torch.ones_like(state.active)
        for number in range(max(self.factors)):
            chosen = place[(wave == number) & unsolved[state.frontier.owner]]
            if not len(chosen):
                return
            asking = self.inner.ask(replace(state, frontier=state.frontier[chosen]), parts, generator)
            wanted = next(asking, None)
            while wanted is not None:
                new = yield _from(chosen, wanted)
                unsolved[new.owner[new.similarity >= 1 - state.limits.tolerance]] = False
                try:
                    wanted = asking.send(new)
                except StopIteration:
                    wanted = None

    def most(self, beam: int) -> int:
        """See `Move`."""
        return self.inner.most(beam * max(self.factors))

    def for_beam(self, beam: int) -> Move:
        """See `Move`."""
        return replace(self, inner=self.inner.for_beam(beam))

    def fitted(self, parts: Collection[str]) -> Move | None:
        """See `Move`."""
        inner = self.inner.fitted(parts)
        return None if inner is None else replace(self, inner=inner)


def _first(best: Candidates, count: int) -> Tensor:
    """The rows of the `count` best of each target."""
    return (rank_ordered(best.owner) < count).nonzero().flatten()


def _edits(state: State, parts: Parts, generator: torch.Generator, chosen: Tensor, count: int, most: int) -> Ask:
    rows = state.best[chosen]
    made = parts["edit"](state.target[rows.owner], rows.signals, rows.embeddings, count, generator)
    return _from(chosen, Ask.ranked(rows.owner, made, most=most))


def _combinations(state: State, parts: Parts, chosen: Tensor, tried: Candidates, count: int) -> Ask:
    """Combinations of what was `tried` on the `chosen` rows, which stand in for edits that a target lacks."""
    chosen = chosen[torch.isin(state.best.owner[chosen], tried.owner)]
    rows = state.best[chosen]
    which, rank = torch.searchsorted(rows.owner, tried.owner), rank_within(tried.owner)
    place = torch.full((len(rows), int(rank.max()) + 1), -1, device=rank.device)
    place[which, rank] = torch.arange(len(rank), device=rank.device)

    def made(target: Tensor, signal: Tensor, embedding: Tensor, place: Tensor) -> Tensor:
        signals, embeddings = tried.signals[place], tried.embeddings[place]
        signals[place < 0] = signal[:, None].expand_as(signals)[place < 0]
        embeddings[place < 0] = embedding[:, None].expand_as(embeddings)[place < 0]
        return parts["combine"](target, signal, embedding, signals, embeddings, count)

    found = parts.by_chunks(made, state.target[rows.owner], rows.signals, rows.embeddings, place)
    return _from(chosen, Ask.ranked(rows.owner, found))


def _from(chosen: Tensor, ask: Ask) -> Ask:
    """The ask with parents among all rows, where they were numbered among the `chosen` ones."""
    return ask if ask.parent is None else replace(ask, parent=chosen[ask.parent])
