"""What is to be inverted, batch by batch, and what is known of each vector: its number, its id, its input."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unembed.bulk.order import Head, Piece, Selection
from unembed.errors import InputError, brief
from unembed.inversion.inverter import Inverter
from unembed.inversion.keeping import digest, key_of
from unembed.sources.records import RecordBatch
from unembed.sources.source import Source

__all__ = ["Head", "InputTargets", "SourceTargets", "content_of"]

Batches = Iterator[tuple[list[Head], Tensor]]
READ = 1024  # records read together
EMBED = 64  # inputs embedded together


class InputTargets:
    """Inputs of the user's own, embedded as they are needed."""

    def __init__(self, inverter: Inverter, inputs: Sequence[Any]) -> None:
        self.inverter, self.inputs = inverter, list(inputs)
        self.fingerprint = digest(json.dumps([str(one) for one in inputs]))
        self.count: int | None = len(self.inputs)
        self.signals = inverter.codec.encode(self.inputs)  # so that a bad one is found before any work

    def batches(self, kept: Sequence[int]) -> Batches:
        """The inputs after those that were kept, with their embeddings `[n, D]`."""
        for first in range(len(kept), len(self.inputs), EMBED):
            part = self.inputs[first : first + EMBED]
            vectors = self.inverter.embedder.embed(self.signals[first : first + EMBED])
            yield [{"input": str(one)} for one in part], vectors

    def good(self) -> int:
        """How many there are."""
        return len(self.inputs)

    def skipped(self) -> list[str]:
        """None are."""
        return []


class SourceTargets:
    """The records of a source, of the width that is inverted; others are skipped and counted in `odd`.

    `selection` says which of them and in which order: all, as they are stored, if None.
    """

    def __init__(
        self, source: Source, width: int, fingerprint: str, *, strict: bool = False, selection: Selection | None = None
    ) -> None:
        self.source, self.width, self.fingerprint = source, width, fingerprint
        self.odd: Counter[int] = Counter()
        self._strict = strict
        self._selection = selection or Selection()

    @property
    def count(self) -> int | None:
        """How many there are, as far as that is known."""
        if self._selection.total is not None or self._selection.whole:
            return self.source.count if self._selection.total is None else self._selection.total
        most = self._selection.sample
        return self.source.count if most is None else min(most, self.source.count or most)

    def batches(self, kept: Sequence[int]) -> Batches:
        """The records after those that were kept, with their vectors `[n, D]`.

        Raises InputError where the records that were kept aren't the first ones.
        """
        done = len(kept)
        for first, heads, vectors in self.pieces(done):
            old = min(max(0, done - first), len(heads))
            for place in range(old):
                if key_of(heads[place]) != kept[first + place]:
                    raise InputError(
                        f"{self.source.place} gives its records in another order, or other ones, than when these "
                        f"results began: record {heads[place]['index']}; begin anew with --restart"
                    )
            for start in range(old, len(heads), READ):
                part = slice(start, start + READ)
                yield heads[part], torch.from_numpy(np.array(vectors[part]))

    def pieces(self, first: int = 0) -> Iterator[Piece]:
        """The records in order, beginning where it is cheapest at or before place `first`."""
        return self._selection.pieces(self._records, first)

    def _records(self) -> Iterator[tuple[list[Head], RecordBatch]]:
        """One pass over the source."""
        note = None if self.source.undone is None else self.source.undone.note
        self.odd.clear()
        for batch in self.source.batches(READ):
            if len(batch) and batch.vectors.shape[1] != self.width:
                if self._strict:
                    raise InputError(
                        f"{self.source.place}, row {batch.rows[0]} is {batch.vectors.shape[1]} wide, not {self.width}"
                    )
                self.odd[batch.vectors.shape[1]] += len(batch)
                continue
            heads = []
            for place, number in enumerate(batch.rows.tolist()):
                head: Head = {"index": number}
                if batch.ids[place] != str(number):
                    head["id"] = batch.ids[place]
                if batch.collection is not None:
                    head["collection"] = batch.collection
                if batch.deleted is not None and batch.deleted[place]:
                    head["deleted"] = True
                if note is not None:
                    head["undone"] = note
                heads.append(head)
            if heads:
                yield heads, batch

    def good(self) -> int:
        """How many records are inverted; reads the source to its end."""
        found = sum(len(batch) for batch in self.source.batches(READ) if batch.vectors.shape[1] == self.width)
        return found if self._selection.sample is None else min(found, self._selection.sample)

    def skipped(self) -> list[str]:
        """A line on the rows that couldn't be inverted, empty where there were none."""
        found = [self.source.skipped_summary()] if self.source.skipped else []
        if self.odd:
            widths = ", ".join(f"{count} are {width} wide" for width, count in self.odd.most_common(4))
            found.append(f"{self.odd.total()} rows skipped: {widths}, not {self.width}")
        return found


def content_of(place: str, source: Source) -> str:
    """A fingerprint of what a source holds: of a file all of it, of a folder the names and sizes of its files.

    Of anything else, a server, the numbers that it gives of itself and its first vectors.
    """
    path = Path(place if os.path.exists(place) else place.partition(":")[2])
    try:
        if path.is_file():
            with open(path, "rb") as file:
                return digest(hashlib.file_digest(file, "sha256").hexdigest())
        if place and path.is_dir():
            files = sorted((str(one.relative_to(path)), one.stat().st_size) for one in path.rglob("*") if one.is_file())
            return digest(json.dumps(files))
    except OSError as error:
        raise InputError(f"{brief(place)} can't be read: {error.strerror}") from error
    batches = source.batches(64)
    first = next((batch.vectors.tobytes() for batch in batches if len(batch)), b"")
    batches.close()
    return digest(source.kind, source.count, source.collections, first)
