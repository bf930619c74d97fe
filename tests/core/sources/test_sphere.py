"""What was added to unit vectors, or taken from them, is found from their norms."""

import re

import numpy as np
import pytest

import unembed
from unembed.sources.sphere import shifted, uneven

DRAW = np.random.default_rng(0)
WIDTH = 24
UNIT = DRAW.normal(size=(600, WIDTH)) * np.linspace(0.5, 2, WIDTH) + np.linspace(-1, 1, WIDTH)
UNIT = (UNIT / np.linalg.norm(UNIT, axis=1, keepdims=True)).astype(np.float32)
MEAN, SPREAD = UNIT.mean(0), UNIT.std(0)
LOW, HIGH = UNIT.min(0), UNIT.max(0)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize(
    ("stored", "rows", "note"),
    [
        (UNIT + 0.1, 64, r"added to every value \(\+0.1\)"),
        (np.round(UNIT + 1, 3), 64, r"added to every value \(\+1\)"),
        (UNIT - MEAN, 100, "such as the mean"),
        ((UNIT - MEAN) / SPREAD, 600, "of its own"),
        ((UNIT - LOW) / (HIGH - LOW), 600, "of its own"),
        (37 * (UNIT - MEAN), 100, "such as the mean"),
    ],
)
def test_what_was_done_is_named_and_undone(stored, rows, note) -> None:
    stored = stored.astype(np.float32)
    found = shifted(stored[:rows])
    assert found is not None and cosines(found.undo(stored), UNIT).min() > 0.9999
    assert re.search(note, found.note)


@pytest.mark.parametrize(
    "stored",
    [
        UNIT,
        UNIT * 37,
        UNIT.astype(np.float16).astype(np.float32),
        DRAW.normal(size=UNIT.shape),
        UNIT * DRAW.uniform(0.5, 2, size=(600, 1)),  # an embedder that doesn't normalise
        UNIT + DRAW.normal(0, 0.05, UNIT.shape),
        np.tile(UNIT[:1], (600, 1)),
        np.abs(UNIT) ** 2,
    ],
)
def test_nothing_is_made_up(stored) -> None:
    stored = stored.astype(np.float32)
    assert shifted(stored) is None and shifted(stored[:40]) is None


def test_too_few_vectors_tell_nothing() -> None:
    assert uneven(UNIT - MEAN) and shifted((UNIT - MEAN)[:40]) is None and shifted((UNIT + 0.1)[:20]) is None


def test_a_dimension_that_never_changes_does_no_harm() -> None:
    still = np.concatenate([UNIT, np.full((600, 2), 1e-34, np.float32)], axis=1)
    stored = ((still - np.append(MEAN, [0, 0])) / np.append(SPREAD, [1, 1])).astype(np.float32)
    found = shifted(stored)
    assert found is not None and cosines(found.undo(stored), still).min() > 0.9999


def test_a_source_looks_further_where_norms_differ(tmp_path) -> None:
    np.save(tmp_path / "v.npy", UNIT - MEAN)
    source = unembed.open_source(tmp_path / "v.npy", width=WIDTH)
    assert any("such as the mean" in note for note in source.notes) and source.width == WIDTH
    read = np.concatenate([batch.vectors for batch in source.batches(100)])
    assert cosines(read, UNIT).min() > 0.9999
    assert not unembed.open_source(tmp_path / "v.npy", width=WIDTH, undo=False).notes


def test_vectors_that_were_cut_are_said_to_be(tmp_path) -> None:
    cut = UNIT.copy()
    cut[:, 12:] = 0
    np.save(tmp_path / "v.npy", cut)
    source = unembed.open_source(tmp_path / "v.npy", width=WIDTH)
    assert any("numbers from 12 on are all zero" in note for note in source.notes) and source.width == WIDTH
