"""What tests of stores share: records of their own, and the stores given with the reference data."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

CASES = Path(__file__).parents[3] / "shared" / "cases"
WIDTH = 24


def vectors_of(count: int, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def digest(vectors: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).hexdigest()


class Read:
    """Everything of a source, by id."""

    def __init__(self, source, size: int = 7) -> None:
        self.source = source
        self.live: dict[str, np.ndarray] = {}
        self.deleted: dict[str, np.ndarray] = {}
        self.texts: dict[str, str] = {}
        self.payloads: dict[str, dict] = {}
        self.collections: dict[str, str | None] = {}
        self.rows: list[int] = []
        for batch in source.batches(size):
            assert len(batch) <= size and batch.vectors.dtype == np.float32
            assert len(batch.ids) == len(batch.rows) == len(batch.deleted) == len(batch)
            self.rows += [*batch.rows.tolist(), *(row.row for row in batch.skipped)]
            for place, name in enumerate(batch.ids):
                where = self.deleted if batch.deleted[place] else self.live
                where[name] = batch.vectors[place]
                self.collections[name] = batch.collection
                if batch.texts is not None and batch.texts[place] is not None:
                    self.texts[name] = batch.texts[place]
                if batch.payloads is not None and batch.payloads[place]:
                    self.payloads[name] = dict(batch.payloads[place])
        assert sorted(self.rows) == list(range(len(self.rows))), "rows are numbered from 0, each once"


@pytest.fixture(scope="session")
def cases() -> Path:
    if not CASES.is_dir():
        pytest.skip("the reference data isn't here")
    return CASES


@pytest.fixture(scope="session")
def records(cases) -> dict[str, dict]:
    found = json.loads((cases / "records.json").read_text(encoding="utf-8"))
    return {record["id"]: record for record in (found["records"] if isinstance(found, dict) else found)}
