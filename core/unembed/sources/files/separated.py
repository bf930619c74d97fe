"""CSV, TSV and plain text: a column of vectors as text, a column a number, or numbers alone."""

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from unembed.errors import InputError
from unembed.sources.files.text import open_text
from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import Row, batches_of, id_field, listed, rows_of, text_field
from unembed.sources.wide import wide_groups

__all__ = ["open_separated", "open_text_vectors"]

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_LONGEST_CELL = 16_000_000


def open_separated(place: str, request: SourceRequest) -> SourceContents:
    """A .csv or .tsv file, with a header unless its first line is all numbers."""
    with open_text(place) as file:
        first = file.readline()
    if not first.strip():
        raise InputError(f"{place} begins with an empty line; a table begins with the names of its columns")
    tab = ".tsv" in os.path.basename(place).lower() or ("\t" in first and "," not in first)
    delimiter = "\t" if tab else ";" if first.count(";") > first.count(",") else ","
    header = next(_lines(place, delimiter))
    numbers = all(map(_is_number, header))
    kind = f"a {'TSV' if tab else 'CSV'} table"
    if numbers:
        return SourceContents(kind, lambda size: batches_of(_bare(place, delimiter), size, request))
    _check_names(place, header)
    groups = wide_groups(header)
    if request.column is None and groups and not _has_vectors(place, delimiter, header):
        chosen = groups[0] if len(groups) == 1 else _fitting(place, groups, request)
        note = f"vectors are {len(chosen)} columns, {chosen[0]} to {chosen[-1]}"
        return SourceContents(
            kind,
            lambda size: batches_of(_wide(place, delimiter, header, chosen, request), size, request),
            notes=(note,),
        )
    return SourceContents(
        kind, lambda size: batches_of(rows_of(_records(place, delimiter, header), place, request), size, request)
    )


def open_text_vectors(place: str, request: SourceRequest) -> SourceContents:
    """A .txt file of a vector a line, its numbers parted by spaces, commas or tabs; a first word is its id."""

    def rows() -> Iterator[Row]:
        with open_text(place) as file:
            for number, line in enumerate(file):
                words = line.replace(",", " ").split()
                if number == 0 and len(words) == 2 and all(word.isdigit() for word in words):
                    continue  # word2vec's first line: how many, how wide
                if words and not _is_number(words[0]) and not words[0].startswith("["):
                    yield Row(" ".join(words[1:]), words[0])
                elif words:
                    yield Row(line)

    return SourceContents("a text file", lambda size: batches_of(rows(), size, request))


def _lines(place: str, delimiter: str) -> Iterator[list[str]]:
    """The table's rows; cells may hold line breaks."""
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        with open_text(place, newline="") as file:
            yield from (row for row in csv.reader(file, delimiter=delimiter) if row)
    except csv.Error as error:
        raise InputError(f"{place} isn't a readable table: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _is_number(word: str) -> bool:
    return _NUMBER.fullmatch(word) is not None


def _check_names(place: str, header: Sequence[str]) -> None:
    twice = [name for name in dict.fromkeys(header) if name and header.count(name) > 1] if len(header) < 5000 else []
    if twice:
        raise InputError(f"{place} has several columns called {listed(twice)}; rename all but one")


def _has_vectors(place: str, delimiter: str, header: Sequence[str]) -> bool:
    """Whether a single column of the first row holds a vector as text."""
    row = next(islice(_lines(place, delimiter), 1, None), [])
    return any(cell.lstrip().startswith(("[", "{", "array(")) for cell in row)


def _fitting(place: str, groups: Sequence[Sequence[str]], request: SourceRequest) -> Sequence[str]:
    fitting = [group for group in groups if len(group) == request.width]
    if len(fitting) == 1:
        return fitting[0]
    named = [f"{group[0]} to {group[-1]}" for group in groups]
    raise InputError(f"{place} has several groups of columns ({listed(named)}); leave one of them in the file")


def _records(place: str, delimiter: str, header: Sequence[str]) -> Iterator[Mapping[str, str] | str]:
    for cells in islice(_lines(place, delimiter), 1, None):
        if len(cells) != len(header):
            yield f"has {len(cells)} cells, the header {len(header)}"
        else:
            yield dict(zip(header, cells, strict=True))


def _wide(
    place: str, delimiter: str, header: Sequence[str], group: Sequence[str], request: SourceRequest
) -> Iterator[Row]:
    """Rows whose vectors are spread over columns."""
    taken = set(group)
    places = [header.index(name) for name in group]
    others = [name for name in header if name not in taken]
    named, text = id_field(others, group[0]), text_field(others, group[0])
    for cells in islice(_lines(place, delimiter), 1, None):
        if len(cells) != len(header):
            yield Row(None, trouble=f"has {len(cells)} cells, the header {len(header)}")
            continue
        record: dict[str, Any] = dict(zip(header, cells, strict=True))
        rest = {name: record[name] for name in others if name not in (named, text)} if request.payloads else None
        yield Row(
            [_float(cells[at]) for at in places],
            record[named] if named else None,
            record[text] if text else None,
            rest or None,
        )


def _float(word: str) -> float | str | None:
    try:
        return float(word) if word.strip() else None
    except ValueError:
        return word


def _bare(place: str, delimiter: str) -> Iterator[Row]:
    """A table of numbers alone; the Embedding Projector keeps texts in a metadata.tsv beside it."""
    beside = _metadata(place)
    for cells in _lines(place, delimiter):
        name, text, payload = next(beside, (None, None, None))
        yield Row([_float(cell) for cell in cells], name, text, payload)


def _metadata(place: str) -> Iterator[tuple[str | None, str | None, dict[str, str] | None]]:
    path = os.path.join(os.path.dirname(place), "metadata.tsv")
    if os.path.basename(place) not in ("vectors.tsv", "tensors.tsv") or not os.path.isfile(path):
        return
    lines = _lines(path, "\t")
    header = next(lines, [])
    if len(header) == 1:  # a single column has no header
        yield from ((None, cells[0], None) for cells in chain([header], lines))
        return
    named, text = id_field(header, ""), text_field(header, "")
    for cells in lines:
        record = dict(zip(header, cells, strict=False))
        yield (record.pop(named, None) if named else None), (record.pop(text, None) if text else None), record or None
