"""What use is measured on: a folder as BEIR has them, and a file of sentence pairs with scores."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unembed.errors import InputError, brief

__all__ = ["Retrieval", "SentencePairs", "read_pairs", "read_retrieval"]


@dataclass(frozen=True)
class Retrieval:
    """Documents, queries and which documents each query is for: `judged[query][document]` is a whole number."""

    documents: dict[str, str]
    queries: dict[str, str]
    judged: dict[str, dict[str, int]]


@dataclass(frozen=True)
class SentencePairs:
    """Pairs of sentences, and how alike people found them."""

    first: list[str]
    second: list[str]
    scores: list[float]


def read_retrieval(folder: Path, *, split: str = "test") -> Retrieval:
    """A folder with `corpus`, `queries` (`.jsonl` or `.parquet`) and `qrels/test.tsv` (Thakur et al. 2021).

    Only queries with a judgement are kept. A document is its title and its text. Raises InputError for what is missing.
    """
    if not folder.is_dir():
        raise InputError(
            f"--retrieval takes a folder with corpus, queries and qrels; there is no folder {brief(folder)}"
        )
    documents = {
        str(row["_id"]): f"{row.get('title') or ''} {row.get('text') or ''}".strip() for row in _rows(folder, "corpus")
    }
    judged = _judgements(folder / "qrels" / f"{split}.tsv")
    queries = {str(row["_id"]): str(row["text"]) for row in _rows(folder, "queries") if str(row["_id"]) in judged}
    if not documents or not queries:
        raise InputError(f"{brief(folder)} has {len(documents)} documents and {len(queries)} judged queries")
    return Retrieval(documents, queries, {name: judged[name] for name in queries})


def read_pairs(path: Path) -> SentencePairs:
    """A `.parquet`, `.jsonl`, `.csv` or `.tsv` file with the columns `sentence1`, `sentence2` and `score`."""
    if not path.is_file():
        raise InputError(f"--pairs takes a file of sentence pairs; there is no file {brief(path)}")
    first, second, scores = [], [], []
    for number, row in enumerate(_table(path), 1):
        try:
            first.append(str(row["sentence1"]))
            second.append(str(row["sentence2"]))
            scores.append(float(row["score"]))
        except KeyError as error:
            raise InputError(f"{brief(path)} has no column {error}; it needs sentence1, sentence2 and score") from error
        except (TypeError, ValueError) as error:
            raise InputError(f"{brief(path)}, row {number}: its score isn't a number: {brief(row['score'])}") from error
    if len(scores) < 3:
        raise InputError(f"{brief(path)} has {len(scores)} pairs; a correlation needs more")
    return SentencePairs(first, second, scores)


def _rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    for kind in ("parquet", "jsonl"):
        path = folder / f"{name}.{kind}"
        if path.is_file():
            for number, row in enumerate(_table(path), 1):
                if row.get("_id") is None or row.get("text") is None:
                    raise InputError(f"{brief(path)}, row {number} has no _id or no text")
                yield row
            return
    raise InputError(f"{brief(folder)} has no {name}.jsonl and no {name}.parquet")


def _table(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            yield from pyarrow.parquet.read_table(path).to_pylist()
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise InputError(f"{brief(path)} isn't a readable parquet file: {brief(error)}") from error
    elif path.suffix == ".jsonl":
        for number, line in enumerate(_lines(path), 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{brief(path)}, line {number} isn't JSON") from error
            if not isinstance(row, dict):
                raise InputError(f"{brief(path)}, line {number} isn't a JSON object")
            yield row
    elif path.suffix in (".csv", ".tsv"):
        import csv

        yield from csv.DictReader(_lines(path), delimiter="," if path.suffix == ".csv" else "\t")
    else:
        raise InputError(f"{brief(path)}: tables come from .parquet, .jsonl, .csv or .tsv files, not {path.suffix!r}")


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{brief(path)} isn't UTF-8 text (byte {error.start})") from error


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    """query → document → relevance, of a file with a header line: query-id, corpus-id, score."""
    if not path.is_file():
        raise InputError(f"there are no judgements {brief(path)}")
    judged: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_lines(path)[1:], 2):
        cells = line.split("\t")
        if len(cells) != 3 or not cells[2].strip().lstrip("-").isdigit():
            raise InputError(f"{brief(path)}, line {number} isn't query-id, corpus-id and a whole score")
        judged.setdefault(cells[0], {})[cells[1]] = int(cells[2])
    return judged
