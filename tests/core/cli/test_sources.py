"""`invert --vectors SOURCE`: ids, bad rows, codes that are undone, and what is said of them."""

import json

import numpy as np
import pytest

from unembed.testing.toy import DIMENSION, toy_inverter, words

WORDS = words(40, seed=4)


@pytest.fixture(scope="module")
def embedded():
    return toy_inverter().embed(WORDS).numpy()


@pytest.fixture
def invert(run):
    def call(*arguments, code=0):
        found, out, err = run("invert", "--vectors", *arguments, "--inverter", "toy", "--effort", "max", "--json")
        assert found == code, err
        return [json.loads(line) for line in out.splitlines()], err

    return call


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_have_the_ids_of_their_records(invert, embedded, tmp_path) -> None:
    rows = [{"id": f"doc-{n}", "embedding": vector.tolist()} for n, vector in enumerate(embedded[:3])]
    found, _ = invert(lines(tmp_path / "v.jsonl", rows))
    assert [(row["index"], row["id"]) for row in found] == [(n, f"doc-{n}") for n in range(3)]
    assert [list(row)[:3] for row in found] == [["index", "id", "reconstruction"]] * 3
    np.save(tmp_path / "v.npy", embedded[:3])
    found, err = invert(tmp_path / "v.npy")
    assert all("id" not in row for row in found) and err == ""


def test_bad_rows_are_skipped_counted_and_named(invert, run, embedded, tmp_path) -> None:
    vectors = [vector.tolist() for vector in embedded[:6]]
    vectors[1], vectors[3], vectors[4] = [float("nan")] * DIMENSION, [0.0] * DIMENSION, vectors[4][:5]
    path = lines(tmp_path / "v.jsonl", [{"id": f"doc-{n}", "embedding": vector} for n, vector in enumerate(vectors)])
    found, err = invert(path)
    assert [row["index"] for row in found] == [0, 2, 5]
    assert len(err.splitlines()) == 1 and "3 of 6 rows skipped" in err
    assert all(f"row {n} (doc-{n})" in err for n in (1, 3, 4))
    _, err = invert(path, "--strict", code=2)
    assert len(err.splitlines()) == 1 and "row 1 (doc-1)" in err
    code, out, _ = run("invert", "--vectors", path, "--inverter", "toy", "--dry-run", "--json", "--max-queries", 10)
    assert code == 0 and json.loads(out)["queries"] == 30


def test_a_run_over_bad_rows_goes_on(run, embedded, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("unembed.inversion.stream.CPU_AT_ONCE", 2)
    vectors = embedded[:9].copy()
    vectors[[0, 4]] = np.nan
    np.save(tmp_path / "v.npy", vectors)
    command = ("invert", "--vectors", tmp_path / "v.npy", "--inverter", "toy", "--steps", 0, "--out")
    run(*command, tmp_path / "whole.jsonl")
    whole = (tmp_path / "whole.jsonl").read_bytes()
    (tmp_path / "r.jsonl").write_bytes(whole[: len(whole) // 2])
    code, _, err = run(*command, tmp_path / "r.jsonl")
    assert code == 0 and (tmp_path / "r.jsonl").read_bytes() == whole and "2 of 9 rows skipped" in err


def codes(vectors, low, high):
    return np.round((vectors - low) / (high - low) * 255).clip(0, 255)


def test_ranges_turn_codes_back(invert, embedded, tmp_path) -> None:
    low, high = embedded.min(0) - 0.01, embedded.max(0) + 0.01
    np.save(tmp_path / "v.npy", codes(embedded, low, high).astype(np.uint8))
    np.save(tmp_path / "ranges.npy", np.stack([low, high]))
    found, err = invert(tmp_path / "v.npy", "--ranges", tmp_path / "ranges.npy")
    assert "ranges given" in err and all("ranges given" in row["undone"] for row in found)
    right = [row["reconstruction"] == word for row, word in zip(found, WORDS, strict=True)]
    assert sum(right) > 0.8 * len(right) and all(row["precision"].startswith("noise:") for row in found)
    np.savez(tmp_path / "ranges.npz", low=low, high=high)
    assert invert(tmp_path / "v.npy", "--ranges", tmp_path / "ranges.npz")[0] == found
    np.save(tmp_path / "three.npy", np.zeros((3, DIMENSION)))
    _, err = invert(tmp_path / "v.npy", "--ranges", tmp_path / "three.npy", code=2)
    assert "two rows" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows, None),
        (lambda rows: rows * 5.3, "the vectors have norm 5.3, those of toy norm 1: their direction alone counts"),
        (lambda rows: rows[::2] - rows[1::2], "those of toy norm 1: they were altered, are sums or differences"),
    ],
)
def test_what_norms_tell_is_said_once(invert, embedded, tmp_path, change, said) -> None:
    np.save(tmp_path / "v.npy", change(embedded[:8]))
    _, err = invert(tmp_path / "v.npy")
    assert err.count("those of toy norm 1") == (said is not None) and (said or "") in err


def test_padding_is_dropped(invert, embedded, tmp_path) -> None:
    np.save(tmp_path / "v.npy", np.pad(embedded[:4], ((0, 0), (0, 8))))
    found, err = invert(tmp_path / "v.npy")
    assert "8 of padding dropped" in err and len(found) == 4


def test_sign_bits_are_unpacked(invert, embedded, tmp_path) -> None:
    np.save(tmp_path / "v.npy", np.packbits(embedded > 0, axis=1))
    found, err = invert(tmp_path / "v.npy")
    assert "sign bits" in err and {row["precision"] for row in found} == {"sign"}
