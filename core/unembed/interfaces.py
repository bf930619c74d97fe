"""What a plugin implements: the black box, its two learned parts, and the way in and out.

Words are those of the design: a *signal* is a batch tensor `[N, ...]` whose rows all have one fixed shape
within an inverter; an *embedding* is `[N, D]`; the embedding to invert is the *target*. Each class asks for
one or two underscored methods; the public method checks, then delegates. None of the public methods is
meant to be overridden: vary by wrapping.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from unembed.defaults import REACH
from unembed.errors import InputError, PluginError
from unembed.metering import Meter

__all__ = [
    "Codec",
    "Corrector",
    "Editor",
    "Embedder",
    "Hypothesizer",
    "SequenceCodec",
    "Similarity",
    "cosine",
]

Similarity = Callable[[Tensor, Tensor], Tensor]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Row-wise cosine of two batches of embeddings, each `[N, D]`, as float32 `[N]`."""
    return torch.nn.functional.cosine_similarity(a.float(), b.float(), dim=-1)


class Embedder(ABC):
    """The black box: signals in, embeddings out, forward calls only.

    A subclass calls `super().__init__` with what it declares and implements `_embed`. The similarity that
    its embeddings are compared by belongs to the embedder; it is cosine unless said otherwise, and 1 means
    identical. One behind an API has a `meter`: nothing asks it before a user's work needs it, and `available` says
    whether it can be asked at all (its key is set).
    """

    def __init__(
        self,
        *,
        name: str,
        modality: str,
        dimension: int,
        normalized: bool,
        device: torch.device | str = "cpu",
        similarity: Similarity = cosine,
        meter: Meter | None = None,
        available: bool = True,
    ) -> None:
        self.name = name
        self.modality = modality
        self.dimension = dimension
        self.normalized = normalized
        self.device = torch.device(device)
        self.similarity = similarity
        self.meter = meter
        self.available = available
        self.queries = 0
        self._before_first: Callable[[], None] | None = None

    @final
    def before_first(self, check: Callable[[], None]) -> None:
        """Have `check` run just before the next query, once; what it raises, the query raises."""
        self._before_first = check

    @final
    @torch.no_grad()
    def embed(self, signals: Tensor) -> Tensor:
        """Embed signals `[N, ...]` as float32 `[N, D]` and count N queries.

        Raises PluginError when `_embed` returns another shape or a value that isn't finite.
        """
        if len(signals) == 0:
            return torch.empty(0, self.dimension, device=self.device)
        if self._before_first is not None:
            check, self._before_first = self._before_first, None
            check()
        with _current(self.device):
            embeddings = self._embed(signals.to(self.device)).float()
        self.queries += len(signals)
        if embeddings.shape != (len(signals), self.dimension):
            raise PluginError(
                f"embedder {self.name!r} returned shape {tuple(embeddings.shape)} for {len(signals)} rows; "
                f"it declares {(len(signals), self.dimension)}"
            )
        if not torch.isfinite(embeddings).all():
            raise PluginError(f"embedder {self.name!r} returned NaN or infinity")
        return embeddings

    @abstractmethod
    def _embed(self, signals: Tensor) -> Tensor:
        """Return `[N, D]` embeddings of N ≥ 1 signals, which are on `self.device`."""


class Hypothesizer(ABC):
    """The first guess: a target in, a few signals out, in one forward pass (zero steps).

    One that can guess with less work what is to be corrected names another as its `starter`, which then does so.
    """

    starter: "Hypothesizer | None" = None

    @final
    @torch.no_grad()
    def hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return `count` signals for each target `[N, D]`, best first, as `[N, count, ...]`.

        Rows of one target may repeat. Randomness, if any, comes from `generator` alone.
        """
        with _current(target.device):
            signals = self._hypothesize(target, count, generator)
        return _counted(self, signals, len(target), count)

    @abstractmethod
    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor: ...


class Corrector(ABC):
    """The correction: a target, a hypothesis and its embedding in, better signals out."""

    @final
    @torch.no_grad()
    def correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return `count` signals for each row, best first, as `[N, count, ...]`.

        `target` and `embedding` (of the hypothesis) are `[N, D]`, `hypothesis` is `[N, ...]`.
        """
        with _current(target.device):
            signals = self._correct(target, hypothesis, embedding, count, generator)
        return _counted(self, signals, len(target), count)

    @abstractmethod
    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor: ...


class Editor(Corrector):
    """Small corrections that are tried and then put together: what several bring each, a combination may bring at once.

    Of each the black box says what it does to the embedding. A search asks for `reach` times as many as it tries, as
    it passes over those that it has met; an editor that draws them anew each time sets it to 1.
    """

    reach: int = REACH

    @final
    @torch.no_grad()
    def combine(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        edits: Tensor,
        answers: Tensor,
        count: int,
    ) -> Tensor:
        """Return `count` signals for each row, `[N, count, ...]`, from K edits of each hypothesis.

        Those are `edits` `[N, K, ...]` with the embeddings `answers` `[N, K, D]`; a row's edits may hold the
        hypothesis itself, and what was combined from the others before. `target` and `embedding` (of the
        hypothesis) are `[N, D]`.
        """
        with _current(target.device):
            signals = self._combine(target, hypothesis, embedding, edits, answers, count)
        return _counted(self, signals, len(target), count)

    @abstractmethod
    def _combine(
        self, target: Tensor, hypothesis: Tensor, embedding: Tensor, edits: Tensor, answers: Tensor, count: int
    ) -> Tensor: ...


class Codec(ABC):
    """The way in and out: a user's objects (`str`, `PIL.Image`) to signals and back.

    `probes` are a few fixed objects whose embeddings identify an embedder (see `unembed.fingerprint`).
    """

    probes: ClassVar[Sequence[Any]]

    @final
    def encode(self, objects: Sequence[Any]) -> Tensor:
        """Turn N ≥ 1 objects into signals `[N, ...]`; raises InputError for an object that can't be one."""
        if len(objects) == 0:
            raise InputError("there is nothing to encode: the list of inputs is empty")
        return self._encode(objects)

    @final
    def decode(self, signals: Tensor) -> list[Any]:
        """Turn signals `[N, ...]` back into N objects that a person can use."""
        return self._decode(signals) if len(signals) else []

    @abstractmethod
    def _encode(self, objects: Sequence[Any]) -> Tensor: ...

    @abstractmethod
    def _decode(self, signals: Tensor) -> list[Any]: ...


class SequenceCodec(Codec):
    """A codec of sequences, of which a signal holds at most the first `width` elements."""

    width: int

    @final
    def lengths(self, objects: Sequence[Any]) -> list[int]:
        """How many elements each object has, before any are cut off."""
        return self._lengths(objects)

    @final
    def first(self, objects: Sequence[Any], length: int) -> Tensor:
        """Signals of the first `length` elements of those objects that have at least as many, in order."""
        signals = self._first(objects, length)
        if len(signals) == 0:
            raise InputError(f"none of the {len(objects)} inputs has {length} elements or more")
        return signals

    @abstractmethod
    def _lengths(self, objects: Sequence[Any]) -> list[int]: ...

    @abstractmethod
    def _first(self, objects: Sequence[Any], length: int) -> Tensor: ...


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """With `device` as the one that kernels of a plugin's own are launched on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _counted(owner: object, signals: Tensor, rows: int, count: int) -> Tensor:
    if signals.shape[:2] != (rows, count):
        raise PluginError(
            f"{type(owner).__name__} returned shape {tuple(signals.shape)}; "
            f"the contract is [{rows}, {count}, ...]: rows, then candidates"
        )
    return signals
