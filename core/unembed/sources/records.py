"""What a source yields, and what a reader of sources promises. Needs numpy alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RecordBatch", "SkippedRow", "SourceContents", "SourceRequest", "Vectors"]

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class SkippedRow:
    """A row without a usable vector: its number in the source (from 0), its id, and why."""

    row: int
    id: str
    reason: str


@dataclass(frozen=True)
class RecordBatch:
    """Records that follow each other in a source, all of one collection and one width.

    `vectors` is float32 `[N, D]`. `rows` numbers the source's rows from 0; a skipped row keeps its number. `ids` are
    the source's own, as text, or else the row's number. `texts` are what was embedded, where it lies beside the
    vectors; `payloads` is everything else that does. `deleted` marks records that the source no longer gives its
    users though it still holds their vectors. `notes` are true of the whole source and said once.
    """

    ids: Sequence[str]
    vectors: Vectors
    rows: NDArray[np.int64]
    texts: Sequence[str | None] | None = None
    payloads: Sequence[Mapping[str, Any] | None] | None = None
    collection: str | None = None
    deleted: NDArray[np.bool_] | None = None
    skipped: tuple[SkippedRow, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)

    def selected(self, places: Sequence[int]) -> "RecordBatch":
        """The same batch of some of its records alone."""
        return replace(
            self,
            ids=[self.ids[place] for place in places],
            vectors=self.vectors[places],
            rows=self.rows[places],
            texts=None if self.texts is None else [self.texts[place] for place in places],
            payloads=None if self.payloads is None else [self.payloads[place] for place in places],
            deleted=None if self.deleted is None else self.deleted[places],
        )


@dataclass(frozen=True)
class SourceRequest:
    """What is asked of a source: which part of it, and how much beside the vectors.

    `column` names the array, column, tensor or field of vectors (`a.b` within another), `collection` the collection,
    table, group or index; None is all that holds vectors, or an error that lists the choices where they can't all be
    meant. `width` chooses among columns. Without `payloads` only ids and vectors are read.
    """

    column: str | None = None
    collection: str | None = None
    width: int | None = None
    deleted: bool = True
    payloads: bool = True


@dataclass(frozen=True)
class SourceContents:
    """What a reader gives for an opened source: what it is, and `read`, which yields its records.

    `read(size)` begins anew at each call and yields batches of at most `size` rows, so that memory doesn't grow with
    the source. A reader may leave NaN, zero and odd rows in: they are found after it. `count` is the number of rows,
    deleted ones included, where that is known without reading them; `column` names that of the vectors, where one
    that wasn't asked for was chosen.
    """

    kind: str
    read: Callable[[int], Iterator[RecordBatch]]
    count: int | None = None
    collections: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    column: str | None = None
