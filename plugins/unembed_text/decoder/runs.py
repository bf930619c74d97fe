"""A search under way: a decoder advances its state by a token at a time, and rows that have ended leave.

Searches differ in their scoring: which of the texts under way are kept, and when a row has ended.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from unembed_text.decoder.cache import Cache
from unembed_text.decoder.decoder import Decoder, Select

__all__ = ["PlainRun", "Run", "Scoring", "UnfinishedCount"]


class Scoring(ABC):
    """How a search scores texts; a frozen dataclass, since equal ones share what is recorded of them.

    Its states are named tuples of tensors, rows first. Each has `last` `[R, B]`, the tokens to read next, and `done`
    `[R]` or `[R, B]`, whether a row, or each of its beams, has ended.
    """

    @abstractmethod
    def begin(self, decoder: Decoder, padding: Tensor) -> Any:
        """The state before the first token of texts `[R, beams, length]`, of which there is only `padding` yet."""

    @abstractmethod
    def select(
        self, decoder: Decoder, hidden: Tensor, state: Any, position: Tensor, beams: int, first: bool
    ) -> tuple[Any, Tensor | None]:
        """The state after one more token, and its texts' parents: see `decoder.Select`."""

    @abstractmethod
    def texts(self, state: Any, *, cut: bool) -> Tensor:
        """The best texts `[R, up to beams, length]`; with `cut`, those that haven't ended end now."""


class UnfinishedCount:
    """How many rows are still written; a GPU's answer comes a token late, since waiting for it would leave it idle."""

    def __init__(self) -> None:
        self._asked: tuple[Tensor, torch.cuda.Event] | None = None

    def __call__(self, done: Tensor, length: int) -> int | None:
        """The count if known now, after `length` tokens; `done` `[R]` or `[R, beams]` says which have ended.

        A GPU is asked every fourth token and answers when the next one is under way.
        """
        asked, self._asked = self._asked, None
        if asked is not None:
            count, answered = asked
            answered.synchronize()
            return int(count)
        if done.is_cuda and length % 4:
            return None
        left = (~(done if done.ndim == 1 else done.all(1))).sum()
        if not done.is_cuda:
            return int(left)
        count = torch.empty((), dtype=left.dtype, device="cpu", pin_memory=True).copy_(left, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._asked = count, event
        return None


class Run(ABC):
    """A search over the rows of a batch."""

    def __init__(self) -> None:
        self._count = UnfinishedCount()

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens written so far."""

    @abstractmethod
    def advance(self, state: Any) -> Any:
        """The state after one more token, until the next."""

    @abstractmethod
    def should_compact(self, left: int) -> bool:
        """Whether `compact` saves more than it costs when `left` rows are unfinished."""

    @abstractmethod
    def compact(self, rows: Tensor) -> None:
        """Drop the rows that the mask `[R]` leaves out."""

    def unfinished(self, done: Tensor) -> int | None:
        """How many rows are still written, if known now: see `UnfinishedCount`."""
        return self._count(done, self.length)


class PlainRun(Run):
    """One kernel after the other, over a cache of its own."""

    def __init__(self, decoder: Decoder, cache: Cache, select: Select) -> None:
        super().__init__()
        self.decoder, self.cache, self.select = decoder, cache, select

    @property
    def length(self) -> int:
        """See `Run`."""
        return self.cache.length

    def advance(self, state: Any) -> Any:
        """See `Run`."""
        return self.decoder.advance(state, self.cache, self.select)

    def should_compact(self, left: int) -> bool:
        """See `Run`: a GPU is busy with fewer rows too."""
        rows = len(self.cache.ancestry)
        return left <= (rows * 3 // 4 if self.cache.ancestry.is_cuda else rows - 1)

    def compact(self, rows: Tensor) -> None:
        """See `Run`."""
        self.cache.compact(rows)
