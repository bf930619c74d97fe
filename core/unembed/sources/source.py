"""An opened source: the checks that every record passes, whatever it is read from."""

from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError
from unembed.sources.records import RecordBatch, SkippedRow, SourceContents, SourceRequest, Vectors
from unembed.sources.sphere import uneven
from unembed.sources.undo import Undo, advise, from_ranges, recentre, recognise

__all__ = ["Source"]

_PEEK, _LOOK = 64, 4096  # vectors looked at first, and where their norms differ
_EXAMPLES = 10
_RAW = "codes, read as they stand"


class Source:
    """Vectors and what lies beside them, read batch by batch; made by `unembed.open_source`.

    `kind` says what it is ("Chroma 1.x"), `width` how wide its first vectors are and `widths` all seen so far,
    `count` how many rows it has where that is known without reading, `collections` their names, `column` where the
    vectors stand and `collection` the one that was asked for, as far as they have such names, `notes` what a reader
    should know of the vectors. `precision` is what is left of their numbers (float, int8 or sign), `undone` the step
    that undoes how they were stored, or None; `norms` are the least and the greatest norm of the first 64. After a
    pass over `batches`, `skipped` counts its bad rows by reason and `skipped_rows` holds the first ten; `total` and
    `deleted` count the records.
    """

    def __init__(
        self,
        place: str,
        contents: SourceContents,
        request: SourceRequest,
        *,
        strict: bool = False,
        undo: bool = True,
        ranges: NDArray[np.floating] | None = None,
    ) -> None:
        self.place = place
        self.kind = contents.kind
        self.count = contents.count
        self.collections = contents.collections
        self.column = contents.column or request.column
        self.collection = request.collection
        self.notes: list[str] = list(contents.notes)
        self.widths: tuple[int, ...] = ()
        self.skipped: Counter[str] = Counter()
        self.skipped_rows: list[SkippedRow] = []
        self.total = self.deleted = 0
        self._contents, self._request, self._strict = contents, request, strict
        self.undone: Undo | None = None
        sample = self._sample(_PEEK)
        if undo or ranges is not None:
            self.undone = _undone(sample, request.width, ranges)
            if self.undone is None and uneven(sample):
                self.undone = recentre(self._sample(_LOOK))
        self.precision = "float" if self.undone is None else self.undone.precision
        self.norms = _norms(sample if self.undone is None else self.undone.apply(sample))
        self.width: int = sample.shape[1] if self.undone is None else self.undone.width
        self.widths = (self.width,)
        if self.undone is not None:
            self.notes = [note for note in self.notes if _RAW not in note]
            self.notes.append(self.undone.note)
        if request.width is not None and self.width != request.width:
            self.notes.append(advise(self.width, request.width))

    def _sample(self, count: int) -> Vectors:
        """The first `count` vectors, as far as they are of one width."""
        found: list[Vectors] = []
        with closing(self.batches(count)) as batches:
            for batch in batches:
                if len(batch) and (not found or batch.vectors.shape[1] == found[0].shape[1]):
                    found.append(batch.vectors)
                if sum(map(len, found)) >= count:
                    break
        return np.concatenate(found)[:count]

    def batches(self, size: int = 1024) -> Generator[RecordBatch, None, None]:
        """Every record, in batches of at most `size` of one collection and one width; each call begins anew.

        A row without a vector, with NaN or infinity, or with nothing but zeros, is in its batch's `skipped` instead;
        a source opened with `strict` raises InputError at the first. Raises InputError where no row is left.
        """
        self.skipped, self.skipped_rows, self.total, self.deleted = Counter(), [], 0, 0
        for batch in self._contents.read(size):
            checked = _checked(batch)
            if self.undone is not None and len(checked):
                checked = replace(checked, vectors=self.undone.apply(checked.vectors))
            self._take(checked)
            yield checked
        if not self.total:
            raise InputError(self._nothing())

    def _take(self, batch: RecordBatch) -> None:
        for row in batch.skipped:
            if self._strict:
                raise InputError(f"{self.place}, row {row.row}{_named(row)} {row.reason}; remove it or embed it again")
            self.skipped[row.reason] += 1
            if len(self.skipped_rows) < _EXAMPLES:
                self.skipped_rows.append(row)
        for note in batch.notes:
            if note not in self.notes and (self.undone is None or _RAW not in note):
                self.notes.append(note)
        if len(batch):
            self.total += len(batch)
            self.deleted += 0 if batch.deleted is None else int(batch.deleted.sum())
            if batch.vectors.shape[1] not in self.widths:
                self.widths = (*self.widths, batch.vectors.shape[1])

    def _nothing(self) -> str:
        """Why no row gives a vector, in one line."""
        rows = sum(self.skipped.values())
        if not rows:
            return f"{self.place} holds no vectors; vectors have shape [N, D], N ≥ 1"
        if set(self.skipped) == {"is empty"}:
            return f"{self.place}: all {rows} rows have an empty vector; the export left the vectors out"
        first = self.skipped_rows[0]
        every = "its only row" if rows == 1 else f"none of its {rows} rows holds a vector; row {first.row}"
        return f"{self.place}: {every}{_named(first)} {first.reason}"

    def skipped_summary(self) -> str:
        """The bad rows of the last pass in one line, by reason, the first ones named; empty where there were none."""
        if not self.skipped:
            return ""
        reasons = ", ".join(f"{count} {reason.removeprefix('is ')}" for reason, count in self.skipped.most_common(4))
        named = ", ".join(f"row {row.row}{_named(row)}" for row in self.skipped_rows[:3])
        more = ", …" if sum(self.skipped.values()) > 3 else ""
        bad = sum(self.skipped.values())
        return f"{bad} of {self.total + bad} rows skipped: {reasons} ({named}{more})"


def _undone(sample: Vectors, width: int | None, ranges: NDArray[np.floating] | None) -> Undo | None:
    """What to undo, told from the first records or by ranges that were given."""
    return recognise(sample, width) if ranges is None else from_ranges(ranges, signed=bool(sample.min() < 0))


def _norms(sample: Vectors) -> tuple[float, float]:
    found = np.linalg.norm(sample.astype(np.float64), axis=1)
    return float(found.min()), float(found.max())


def _named(row: SkippedRow) -> str:
    return "" if row.id == str(row.row) else f" ({row.id[:60]})"


def _checked(batch: RecordBatch) -> RecordBatch:
    """The batch without the rows whose vector can't be one."""
    if batch.deleted is None:
        batch = replace(batch, deleted=np.zeros(len(batch), bool))
    finite = np.logical_and.reduce(np.isfinite(batch.vectors), axis=1)
    with np.errstate(invalid="ignore"):  # damaged files hold NaNs that signal
        good: NDArray[np.bool_] = finite & np.logical_or.reduce(batch.vectors != 0, axis=1)
    if good.all():
        return batch
    bad = [
        SkippedRow(
            int(batch.rows[place]), batch.ids[place], "holds only zeros" if finite[place] else "holds NaN or infinity"
        )
        for place in np.flatnonzero(~good).tolist()
    ]
    kept = batch.selected(np.flatnonzero(good).tolist())
    return replace(kept, skipped=tuple(sorted((*batch.skipped, *bad), key=lambda row: row.row)))
