"""Tagged words to learn from: records with known spans, and ordinary sentences that name nobody."""

import random
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unembed.errors import InputError
from unembed_audit.findings.kinds import KINDS
from unembed_audit.tagger.labels import OUTSIDE, begin, inside

__all__ = ["Example", "Record", "plain_sentences", "read_records", "split_kinds", "tagged"]

# As BERT's uncased pre-tokenizer splits: runs of letters and digits, and every other mark by itself.
_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Record:
    """A text, the kind of record that it is, and its spans as start, end, kind (characters)."""

    text: str
    source: str
    spans: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class Example:
    """Lower-cased words and a tag for each."""

    words: tuple[str, ...]
    tags: tuple[int, ...]


def read_records(path: Path, *, limit: int | None = None) -> Iterator[Record]:
    """The records of a Parquet file with the columns `text`, `source` and `spans`; raises InputError."""
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
        if missing := {"text", "source", "spans"} - set(file.schema_arrow.names):
            raise InputError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        left = limit
        for batch in file.iter_batches(1024, columns=["text", "source", "spans"]):
            for row in batch.to_pylist():
                if left == 0:
                    return
                left = None if left is None else left - 1
                yield _record(row, path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as records: {error}") from error


def _record(row: Mapping[str, Any], path: Path) -> Record:
    spans = tuple((int(span["start"]), int(span["end"]), str(span["kind"])) for span in row["spans"])
    if unknown := {kind for _, _, kind in spans} - set(KINDS):
        raise InputError(f"{path} has spans of unknown kinds: {', '.join(sorted(unknown))}")
    return Record(row["text"], row["source"], spans)


def split_kinds(records: Iterable[Record], held_out: Sequence[str]) -> tuple[list[Record], list[Record]]:
    """Records to learn from, and those of the kinds held out, to test on; `held_out` are ends of `source`."""
    learn: list[Record] = []
    test: list[Record] = []
    for record in records:
        (test if record.source.rpartition("/")[2] in held_out else learn).append(record)
    return learn, test


def tagged(record: Record) -> Example:
    """A record's words as an uncased model sees them, each with its tag."""
    words, tags = [], []
    open_span: tuple[int, int, str] | None = None
    for match in _WORD.finditer(record.text):
        word = plain(match[0])
        if not word:
            continue
        span = next((one for one in record.spans if one[0] < match.end() and match.start() < one[1]), None)
        words.append(word)
        tags.append(OUTSIDE if span is None else inside(span[2]) if span == open_span else begin(span[2]))
        open_span = span
    return Example(tuple(words), tuple(tags))


def plain(word: str) -> str:
    """A word in lower case without marks above its letters."""
    return "".join(c for c in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(c) != "Mn")


def plain_sentences(passages: Iterable[str], *, longest: int = 60) -> Iterator[Example]:
    """Sentences of ordinary text that hold no span of any kind: no digit, and no capital but the first and "I".

    Names in ordinary text aren't labelled, so a sentence that could have one is left out instead of being taught as
    naming nobody.
    """
    for passage in passages:
        for sentence in _SENTENCE.split(passage):
            if any(c.isdigit() or c in "@/_" for c in sentence) or not sentence[:1].isupper():
                continue
            if any(
                word[0].isupper() and word not in ("I", "I'm", "I've", "I'll", "I'd") for word in sentence.split()[1:]
            ):
                continue
            words = tuple(word for match in _WORD.finditer(sentence) if (word := plain(match[0])))
            if 4 <= len(words) <= longest:
                yield Example(words, (OUTSIDE,) * len(words))


def windows(example: Example, longest: int, draw: random.Random) -> Example:
    """The example, or a random stretch of at most `longest` words of it."""
    if len(example.words) <= longest:
        return example
    start = draw.randrange(len(example.words) - longest + 1)
    return Example(example.words[start : start + longest], example.tags[start : start + longest])
