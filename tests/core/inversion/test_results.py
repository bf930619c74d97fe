"""Results as a user holds them: a screenful, rows, a data frame, a file."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

import unembed
from unembed.errors import InputError
from unembed.testing.toy import toy_inverter, words

WORDS = words(12, seed=4)


@pytest.fixture(scope="module")
def inverter():
    return toy_inverter()


@pytest.fixture(scope="module")
def found(inverter):
    return inverter.invert(inverter.embed(WORDS))


def test_a_representation_fits_a_screen(inverter, found) -> None:
    lines = repr(found).splitlines()
    assert lines[0].startswith("Inversion of 12 vectors") and len(lines) == 12 and max(map(len, lines)) < 130
    assert WORDS[0] in lines[1] and "1.0000" in lines[1] and "rows()" in lines[-1]
    assert repr(inverter) == "Inverter('toy', embedder='toy', dimension=24)"


def test_rows_as_a_data_frame(found) -> None:
    frame = found.to_pandas(inputs=WORDS)
    assert list(frame["input"]) == WORDS and frame["similarity"].to_list() == found.similarity.tolist()


def test_a_data_frame_needs_pandas(found, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(unembed.MissingExtraError, match="pip install pandas"):
        found.to_pandas()


def test_rows_in_a_file(found, tmp_path) -> None:
    found.save(tmp_path / "rows.jsonl")
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == found.rows()
    with pytest.raises(unembed.InputError, match="there already"):
        found.save(tmp_path / "rows.jsonl")
    with pytest.raises(unembed.OutputError, match="can't write"):
        found.save(tmp_path / "none" / "rows.jsonl")


def test_a_similarity_is_at_most_one() -> None:
    vectors = np.random.default_rng(0).normal(size=(2000, 48)).astype("float32")
    import torch

    rows = torch.from_numpy(vectors)
    assert unembed.cosine(rows, rows).max() <= 1


def test_rows_know_what_is_exact_from_the_inputs() -> None:
    inverter = toy_inverter()
    result = inverter.invert(inverter.embed(["cafe", "bead"]))
    assert [row["exact"] for row in result.rows(inputs=["cafe", "face"])] == [True, False]
    assert result[1] == result.rows()[1] and result[-1]["index"] == 1
    assert [row["exact"] for row in result.rows()] == [None, None]
    with pytest.raises(InputError, match="1 inputs for 2 vectors"):
        result.rows(inputs=["cafe"])


def test_a_table_is_saved_by_its_ending(tmp_path: Path) -> None:
    inverter = toy_inverter()
    result = inverter.invert(inverter.embed(["cafe", "bead"]))
    result.save(tmp_path / "r.parquet", inputs=["cafe", "face"])
    rows = pyarrow.parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert [(row["input"], row["reconstruction"], row["exact"]) for row in rows] == [
        ("cafe", "cafe", True),
        ("face", "bead", False),
    ]
    with pytest.raises(InputError, match=r"\.jsonl or \.parquet"):
        result.save(tmp_path / "r.csv")
    assert not (tmp_path / "r.csv").exists()
