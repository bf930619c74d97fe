"""Deleted records of real stores: found in their files, marked, inverted, and told of in the report."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import unembed
from unembed_audit.pipeline.inverting import inverted, same_to, tokens_of
from unembed_audit.pipeline.ledger import Ledger, read_rows
from unembed_audit.pipeline.run import Detectors, run
from unembed_audit.pipeline.sampling import Census, draw
from unembed_audit.report.summary import summarise
from unembed_audit.report.words import actions, sentences

CASES = Path(__file__).parents[3] / "shared" / "cases"
STORES = ("chroma", "chroma-synced", "chroma-0.4", "lancedb", "sqlite/llm-embeddings-plain-sqlite.db",
          "sqlite/vec-0.1.6.db")  # fmt: skip
DELETED = ("rec-04", "rec-12", "rec-18", "rec-25", "rec-30", "rec-38")

pytestmark = [pytest.mark.reference, pytest.mark.slow]


class Known:
    """The six deleted texts, their vectors, and what a search for each gave: all stores hold the same."""

    def __init__(self) -> None:
        import json

        found = json.loads((CASES / "records.json").read_text(encoding="utf-8"))
        records = {one["id"]: one["text"] for one in (found["records"] if isinstance(found, dict) else found)}
        self.model = unembed.load("minilm", device="cpu")
        self.texts = [records[name] for name in DELETED]
        self.vectors = self.model.embed(self.texts).numpy()
        self.results = list(inverted(self.model, [self.vectors], effort="low", seed=0, at_once=6))

    def which(self, vectors: np.ndarray) -> list[int]:
        cosine = vectors @ self.vectors.T / np.linalg.norm(vectors, axis=1, keepdims=True)
        assert (cosine.max(1) > 0.999999).all()
        return cosine.argmax(1).tolist()


@pytest.fixture(scope="module")
def known():
    if not CASES.is_dir():
        pytest.skip("the reference data isn't here")
    return Known()


@pytest.mark.parametrize("store", STORES)
def test_deleted_records_are_found_marked_and_inverted(store, known, tmp_path, audit_conditions):
    source, census = unembed.open_source(CASES / store, width=known.model.dimension), Census()
    chosen = draw(source.batches(), 200, seed=0, census=census, width=source.width)
    gone = [one for one in chosen if one.stratum.deleted]
    assert (len(gone), len(chosen) - len(gone)) == (6, 34)

    def invert(batches):
        place = 0
        for batch in batches:
            for number in known.which(batch):
                yield replace(known.results[number], place=place)
                place += 1

    # What the store no longer says of a record is known from its vector: here the comparison needs its text.
    named = known.which(np.stack([one.vector for one in gone]))
    assert sorted(named) == list(range(6))
    with_texts = [replace(one, text=known.texts[number]) for one, number in zip(gone, named, strict=True)]
    detectors = Detectors(same=partial(same_to, known.model), tokens=partial(tokens_of, known.model), show=True)
    with Ledger(tmp_path, {}) as ledger:
        run(with_texts, invert=invert, ledger=ledger, detectors=detectors)
    rows = list(read_rows(tmp_path))
    assert len(rows) == 6 and all(row["deleted"] for row in rows)
    assert sum(row["exact"] for row in rows) >= 3
    report = summarise(rows, census, audit_conditions(place=store))
    assert report["store"]["deleted"] == 6 and report["deleted"]["exact"]["share"] >= 3 / 6 - 1e-3
    assert "6 deleted records are still in its files" in " ".join(sentences(report))
    assert "compact or rebuild" in actions(report)[0]
