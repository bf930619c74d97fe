"""Every store and file given with the reference data, read as its manifest says."""

import json

import numpy as np
import pytest

import unembed
from unembed.errors import InputError

from .conftest import CASES, Read, digest

pytestmark = pytest.mark.reference

MANIFEST = json.loads((CASES / "manifest.json").read_text(encoding="utf-8")) if CASES.is_dir() else {"files": []}
FILES = {entry["path"]: entry for entry in MANIFEST["files"]}
APPROXIMATE = {"faiss/pq.faiss", "faiss/sq8.faiss"}
LIBRARIES = {"duckdb": "duckdb", "faiss": "faiss", "hdf5": "h5py", "lancedb": "lance", "mixed/lancedb": "lance"}
# Read whole in all but one place: a row of Qdrant's whose rest became a page of the free list.
IN_PIECES = {"qdrant-local-plain-sqlite": 5}


def by_record(found: dict[str, np.ndarray], records: dict, kind: str | None) -> np.ndarray:
    numbers = {str(record["number"]): name for name, record in records.items()}
    named = {numbers[name] if kind == "number" else name: vector for name, vector in found.items()}
    if set(named) <= set(records):
        return np.stack([named[name] for name in sorted(named)])
    assert kind is None
    return np.stack(list(found.values()))  # no ids in the file: in its order


def test_there_are_files_to_read(cases) -> None:
    assert len(FILES) >= 50


@pytest.mark.parametrize("path", FILES or ["the reference data"])  # without which it is skipped
def test_a_store_reads_as_its_manifest_says(cases, records, path) -> None:
    entry = FILES[path]
    library = LIBRARIES.get(path) or LIBRARIES.get(path.partition("/")[0])
    if library is not None:
        pytest.importorskip(library)
    found = Read(unembed.open_source(cases / path))
    source = found.source
    assert source.total - source.deleted == entry["live"] and not source.skipped
    assert source.width == 384 and source.widths == (384,)
    assert source.count in (None, source.total)
    live = by_record(found.live, records, entry.get("ids"))
    assert digest(live) == entry["sha256_live"]
    assert any("approximations" in note for note in source.notes) == (path in APPROXIMATE)
    left = entry.get("deleted_still_in_the_files", {})
    assert len(found.deleted) == len(left.get("whole", [])) or len(found.deleted) == IN_PIECES.get(path)
    if left.get("whole"):
        assert digest(by_record(found.deleted, records, entry.get("ids"))) == left["sha256_deleted"]
    for name, text in found.texts.items():
        record = next(r for r in records.values() if name in (r["id"], str(r["number"])))
        assert text == record["text"]
    without = unembed.open_source(cases / path, deleted=False)
    assert Read(without).live.keys() == found.live.keys() and not without.deleted


def test_vectors_of_deleted_rows_in_pieces_are_the_embedders(cases, records) -> None:
    found = Read(unembed.open_source(cases / "qdrant-local-plain-sqlite"))
    right = np.load(cases / "numpy" / "float32.npy")
    names = sorted(records)
    assert len(found.deleted) == IN_PIECES["qdrant-local-plain-sqlite"]
    for name, vector in found.deleted.items():
        record = next(r for r in records.values() if str(r["number"]) == name)
        assert record["id"] in MANIFEST["deleted_ids"]
        assert np.array_equal(vector, right[names.index(record["id"])])
        assert found.texts[name] == record["text"]


@pytest.mark.parametrize(
    "store", ["chroma", "chroma-synced", "chroma-0.4", "lancedb", "sqlite/llm-embeddings-plain-sqlite.db"]
)
def test_texts_of_deleted_records_come_with_them(cases, store) -> None:
    if store == "lancedb":
        pytest.importorskip("lance")
    assert len(Read(unembed.open_source(cases / store)).texts) == 40


def test_integer_codes_are_said_to_be_codes(cases) -> None:
    assert any("int8 codes" in note for note in unembed.open_source(cases / "numpy" / "int8.npy").notes)
    assert any("uint8 codes" in note for note in unembed.open_source(cases / "numpy" / "uint8.npy").notes)


FIELD = {
    "ellipsis.csv": r"none of its 3 rows holds a vector; row 0 \(rec-01\) holds '\.\.\.'",
    "embeddings.pkl": r"is a pickle, which can run code .*numpy\.save",
    "no-vectors.jsonl": "all 3 rows have an empty vector; the export left the vectors out",
    "objects.npy": r"an array of objects \(a pickle\); numpy\.stack",
    "int8-zeros.npy": "its only row holds only zeros",
}
SKIPPED = {
    "nan-row.npy": ("holds NaN or infinity", "1"),
    "nan-row.jsonl": ("holds NaN or infinity", "rec-02"),
    "zero-row.npy": ("holds only zeros", "1"),
    "null-row.jsonl": ("is null", "rec-02"),
    "null-row.parquet": ("is null", "rec-02"),
    "empty-row.jsonl": ("is empty", "rec-02"),
}
PLAIN = ["by-column.json", "strings.jsonl", "base64.jsonl", "two-lists.parquet", "pinecone.parquet"]


@pytest.mark.parametrize("name", FIELD)
def test_what_cant_be_read_is_refused_with_its_reason(cases, name) -> None:
    with pytest.raises(InputError, match=FIELD[name]) as caught:
        unembed.open_source(cases / "field" / name, width=384)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("name", SKIPPED)
def test_a_bad_row_is_skipped_and_named(cases, name) -> None:
    reason, identity = SKIPPED[name]
    source = unembed.open_source(cases / "field" / name)
    found = Read(source)
    assert len(found.live) == 2 and source.skipped == {reason: 1}
    assert source.skipped_rows[0].row == 1 and source.skipped_rows[0].id == identity
    assert "1 of 3 rows skipped" in source.skipped_summary() and "row 1" in source.skipped_summary()
    with pytest.raises(InputError, match="row 1"):
        unembed.open_source(cases / "field" / name, strict=True).batches().__next__()


@pytest.mark.parametrize("name", PLAIN)
def test_exports_of_odd_shapes_are_read(cases, name) -> None:
    found = Read(unembed.open_source(cases / "field" / name, width=384))
    right = np.load(cases / "numpy" / "float32.npy")[:3]
    got = np.stack([found.live[f"rec-0{n}"] for n in (1, 2, 3)])
    if name == "by-column.json":  # pandas writes ten decimals
        assert np.abs(got - right).max() < 1e-10
    else:
        assert np.array_equal(got, right)


# Codes, bits and padding: tests/core/sources/test_undo.py.
UNDONE = {"bits.npy", "bits-offset.npy", "signs.npy", "padded-512.npy", "first-256.npy", "int8-own-ranges.npy",
          "int8-wrapped.npy"}  # fmt: skip
NORMS = {"scaled.npy": (5.3, 5.3), "differences.npy": (1.29, 1.37)}


@pytest.mark.parametrize("name", NORMS)
def test_norms_that_no_embedder_gives_are_known(cases, name) -> None:
    source = unembed.open_source(cases / "field" / name, width=384)
    assert source.norms == pytest.approx(NORMS[name], abs=0.1) and source.precision == "float"


def test_no_given_input_is_without_a_test(cases) -> None:
    ours = {*FIELD, *SKIPPED, *PLAIN, *UNDONE, *NORMS}
    assert {path.name for path in (cases / "field").iterdir()} - {"README.md"} == ours
    folders = {path.name for path in cases.iterdir() if path.is_dir()} - {"field", "making"}
    assert {path.partition("/")[0] for path in FILES} == folders
    beside = {"numpy/uint8-ranges.npz", "tsv/metadata.tsv", "mixed/e5.npy"}  # read with others; tests/audit/identify
    given = {str(path.relative_to(cases)) for name in folders for path in (cases / name).rglob("*") if path.is_file()}
    assert {one for one in given if not any(one == path or one.startswith(f"{path}/") for path in FILES)} == beside
