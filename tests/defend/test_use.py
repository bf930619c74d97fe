"""Figures of use against independent scorers, and what can't be read."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

from unembed.errors import InputError
from unembed_defend.defences.opening import open_defence
from unembed_defend.use.measuring import correlation, milliseconds, ndcg, neighbours_kept
from unembed_defend.use.reading import Retrieval, read_pairs, read_retrieval

from .conftest import vectors


def literal_ndcg(retrieval: Retrieval, documents, queries) -> float:
    """nDCG@10 with linear gains, from its definition."""
    names, total = list(retrieval.documents), 0.0
    for place, query in enumerate(retrieval.queries):
        scores = [
            float(torch.nn.functional.cosine_similarity(queries[place], document, dim=0)) for document in documents
        ]
        order = sorted((n for n in names if n != query), key=lambda n: -scores[names.index(n)])[:10]
        judged = retrieval.judged[query]
        gain = sum(max(0, judged.get(name, 0)) / math.log2(rank + 2) for rank, name in enumerate(order))
        ideal = sorted((max(0, value) for value in judged.values()), reverse=True)[:10]
        total += gain / sum(value / math.log2(rank + 2) for rank, value in enumerate(ideal))
    return total / len(retrieval.queries)


def invented(count: int = 60, asked: int = 12) -> tuple[Retrieval, torch.Tensor, torch.Tensor]:
    documents = vectors(count, 16, seed=3)
    queries = documents[:asked] + 0.3 * vectors(asked, 16, seed=4)
    judged = {f"q{n}": {f"d{n}": 1 + n % 3, f"d{(7 * n) % count}": 1} for n in range(asked)}
    return (
        Retrieval({f"d{n}": "" for n in range(count)}, {f"q{n}": "" for n in range(asked)}, judged),
        documents,
        queries,
    )


def test_ndcg_is_that_of_an_independent_count() -> None:
    retrieval, documents, queries = invented()
    found = ndcg(retrieval, documents, queries)
    assert found == pytest.approx(literal_ndcg(retrieval, documents, queries), abs=1e-6) and 0.1 < found < 1
    perfect = ndcg(retrieval, documents, documents[:12])
    assert perfect > found


def test_a_document_with_the_querys_own_id_is_left_out() -> None:
    documents = vectors(20, 16)
    retrieval = Retrieval({f"d{n}": "" for n in range(20)}, {"d0": ""}, {"d0": {"d0": 1, "d1": 1}})
    assert ndcg(retrieval, documents, documents[:1]) < 1


def test_a_correlation_is_that_of_ranks() -> None:
    first, second = vectors(5, 16), vectors(5, 16, seed=8)
    cosines = torch.nn.functional.cosine_similarity(first, second)
    ranks = cosines.argsort().argsort().tolist()
    assert correlation(first, second, ranks) == pytest.approx(1)
    assert correlation(first, second, [-rank for rank in ranks]) == pytest.approx(-1)
    scores = [0.0, 3.0, 1.0, 2.0, 4.0]
    by_hand = 1 - 6 * sum((a - b) ** 2 for a, b in zip(ranks, [0, 3, 1, 2, 4], strict=True)) / (5 * 24)
    assert correlation(first, second, scores) == pytest.approx(by_hand)
    assert correlation(first, second, [1.0] * 5) is None


def test_neighbours_stay_where_distances_do() -> None:
    clean, queries = vectors(200, 32), vectors(20, 32, seed=5)
    shares = {}
    for name in ("rotation", "gaussian:0.02", "gaussian:0.5"):
        defence = open_defence(name)
        defence.fit(clean)
        shares[name] = neighbours_kept(defence, clean, defence.apply(clean), queries)
    assert shares["rotation"] > 0.99 > shares["gaussian:0.02"] > shares["gaussian:0.5"]
    assert neighbours_kept(defence, clean[:5], clean[:5], queries) is None


def test_a_search_takes_time() -> None:
    assert 0 < milliseconds(vectors(500, 32), vectors(3, 32)) < 1000


def folder(path, kind="jsonl", qrels="query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\n"):
    tables = {
        "corpus": [{"_id": f"d{n}", "title": "a title", "text": f"text {n}"} for n in (1, 2)],
        "queries": [{"_id": f"q{n}", "text": f"query {n}"} for n in (1, 2, 3)],
    }
    (path / "qrels").mkdir(parents=True)
    (path / "qrels" / "test.tsv").write_text(qrels)
    for name, rows in tables.items():
        if kind == "jsonl":
            (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            parquet.write_table(pa.Table.from_pylist(rows), path / f"{name}.parquet")
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_beir_folder_is_read(tmp_path, kind) -> None:
    found = read_retrieval(folder(tmp_path / "beir", kind))
    assert found.documents == {"d1": "a title text 1", "d2": "a title text 2"}
    assert found.queries == {"q1": "query 1", "q2": "query 2"} and found.judged["q2"] == {"d2": 2}


def test_what_is_wrong_with_a_beir_folder_is_said(tmp_path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        read_retrieval(tmp_path / "none")
    with pytest.raises(InputError, match="line 2 isn't query-id"):
        read_retrieval(folder(tmp_path / "bad", qrels="query-id\tcorpus-id\tscore\nq1 d1 1\n"))
    (tmp_path / "bad" / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"no corpus\.jsonl"):
        read_retrieval(tmp_path / "bad")


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "tsv"])
def test_sentence_pairs_are_read(tmp_path, kind) -> None:
    rows = [{"sentence1": f"a {n}", "sentence2": f"b, {n}", "score": n / 2} for n in range(4)]
    path = tmp_path / f"pairs.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import csv

        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="," if kind == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    found = read_pairs(path)
    assert found.first[3] == "a 3" and found.second[1] == "b, 1" and found.scores == [0, 0.5, 1, 1.5]


def test_what_is_wrong_with_sentence_pairs_is_said(tmp_path) -> None:
    path = tmp_path / "pairs.csv"
    for text, says in (
        ("sentence1,sentence2\na,b\n", "no column 'score'"),
        ("sentence1,sentence2,score\na,b,high\n", "row 1: its score"),
        ("sentence1,sentence2,score\na,b,1\n", "has 1 pairs"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=says):
            read_pairs(path)
    with pytest.raises(InputError, match="there is no file"):
        read_pairs(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"not '\.xlsx'"):
        (tmp_path / "pairs.xlsx").write_text("")
        read_pairs(tmp_path / "pairs.xlsx")
