"""What a search holds: candidates, the state that moves see, what they ask and what they call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from unembed.contract.proposers import Part
from unembed.engine.limits import Limits
from unembed.engine.rows import Chunked, best_of_each

__all__ = ["Ask", "Candidates", "Parts", "State"]


@dataclass(frozen=True)
class Candidates:
    """Embedded signals, one a row, in no padded shape: R rows of whichever targets have some.

    `owner` int `[R]` is the target of a row, `signals` `[R, ...]`, `embeddings` `[R, D]`, `similarity` `[R]` to the
    target. `parent` int `[R]` is the row that a move made it from, −1 where there is none: a row of `State.frontier`,
    or of `State.best` for a move on the best.
    """

    owner: Tensor
    signals: Tensor
    embeddings: Tensor
    similarity: Tensor
    parent: Tensor

    def __len__(self) -> int:
        return len(self.owner)

    def __getitem__(self, index: Tensor | slice) -> "Candidates":
        if isinstance(index, Tensor) and index.dtype == torch.bool:
            index = index.nonzero().flatten()  # once, for a device has to be waited for
        return Candidates(
            self.owner[index],
            self.signals[index],
            self.embeddings[index],
            self.similarity[index],
            self.parent[index],
        )

    @staticmethod
    def cat(parts: "Sequence[Candidates]") -> "Candidates":
        """All rows of one or more `parts`, in order."""
        if len(parts) == 1:
            return parts[0]
        return Candidates(
            torch.cat([part.owner for part in parts]),
            torch.cat([part.signals for part in parts]),
            torch.cat([part.embeddings for part in parts]),
            torch.cat([part.similarity for part in parts]),
            torch.cat([part.parent for part in parts]),
        )

    def best(self, count: int) -> "Candidates":
        """The `count` best rows of each target: targets in order, best first."""
        return self[best_of_each(self.owner, self.similarity, count)]


@dataclass(frozen=True)
class State:
    """What a move sees when a round begins; nothing in it may be changed. N targets, some of them done.

    `step` is the round's number, 0 for the first guesses; `beam` and `limits` are the effort's. `target` is `[N, D]`,
    `active` bool `[N]`. `frontier` holds the candidates to work on in this round, `beam` of each active target (more
    where a move widens), best first. `quiet` int `[N]` counts the rounds without gain, `left` int `[N]` the queries
    that may still be spent.
    """

    step: int
    beam: int
    limits: Limits
    target: Tensor
    active: Tensor
    top: Candidates
    frontier: Candidates
    quiet: Tensor
    left: Tensor

    @cached_property
    def best(self) -> Candidates:
        """The best candidates ever seen of each active target, as many as the effort's `elite`, best first."""
        return self.top[self.active[self.top.owner]]


@dataclass(frozen=True)
class Ask:
    """Signals that a move wants embedded: `owner` int `[R]`, `signals` `[R, ...]`, in the order a budget is spent.

    What a target has met is passed over; `most` caps the new signals of each target. `parent` `[R]` is as in
    `Candidates`.
    """

    owner: Tensor
    signals: Tensor
    parent: Tensor | None = None
    most: int | None = None

    @classmethod
    def ranked(cls, owner: Tensor, made: Tensor, *, most: int | None = None) -> "Ask":
        """Ask for `made` `[R, K, ...]`, K signals from each of R parents, whose targets are `owner` `[R]`.

        First ranks come first, so that all parents share a short budget.
        """
        rows, count = made.shape[:2]
        parent = torch.arange(rows, device=owner.device).repeat(count)
        return cls(owner.repeat(count), made.transpose(0, 1).flatten(0, 1), parent, most)


class Parts(Mapping[str, Part]):
    """The functions that moves call, by name, on a chunk of rows at a time: every tensor argument has a row for each.

    `parts["correct"](target, signals, embeddings, count, generator)` returns what the inverter's corrector does.
    """

    def __init__(self, parts: Mapping[str, Part], chunked: Chunked) -> None:
        self._parts = parts
        self.chunked = chunked

    def __getitem__(self, name: str) -> Part:
        return partial(self.chunked, self._parts[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def by_chunks(self, function: Callable[..., Tensor], *given: Any) -> Tensor:
        """Call a function of a move's own as parts are called: for rows that are too many to be made at once."""
        return self.chunked(function, *given)
