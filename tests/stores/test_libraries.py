"""Stores that need a library each: LanceDB, DuckDB, FAISS, HDF5. Small ones are made here."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

import unembed
from unembed.errors import InputError, MissingExtraError

from .conftest import Read, vectors_of

ROWS = vectors_of(40)


def table(rows: np.ndarray, first: int = 0) -> pa.Table:
    count, width = rows.shape
    return pa.table(
        {
            "id": [f"rec-{n + first:02d}" for n in range(count)],
            "text": [f"note {n + first}" for n in range(count)],
            "kind": ["a"] * count,
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), width),
        }
    )


def test_lance_deleted_rows_and_files_that_no_version_names(tmp_path) -> None:
    lance = pytest.importorskip("lance")
    path = tmp_path / "notes.lance"
    lance.write_dataset(table(ROWS[:30]), path)
    lance.write_dataset(table(ROWS[30:], 30), path, mode="append")
    dataset = lance.dataset(path)
    dataset.delete("id in ('rec-03', 'rec-33', 'rec-34')")
    lance.write_dataset(table(ROWS[:2] * 2), tmp_path / "other.lance")
    found = Read(unembed.open_source(tmp_path, collection="notes"))
    assert len(found.live) == 37 and set(found.deleted) == {"rec-03", "rec-33", "rec-34"}
    assert np.array_equal(found.deleted["rec-33"], ROWS[33]) and np.array_equal(found.live["rec-39"], ROWS[39])
    assert found.texts["rec-03"] == "note 3" and found.payloads["rec-03"] == {"kind": "a"}
    assert len(Read(unembed.open_source(path, deleted=False)).live) == 37
    assert unembed.open_source(tmp_path).collections == ("notes", "other")
    lance.dataset(path).optimize.compact_files()
    found = Read(unembed.open_source(path))
    assert len(found.live) == 37 and {"rec-03", "rec-33", "rec-34"} <= set(found.deleted)
    assert any("newest version" in note for note in found.source.notes)
    lance.write_dataset(table(ROWS[:5]), path, mode="overwrite")
    found = Read(unembed.open_source(path))
    assert len(found.live) == 5 and {f"rec-{n:02d}" for n in range(40)} <= set(found.deleted)


def test_lance_tables_without_vectors_and_damaged_ones(tmp_path) -> None:
    lance = pytest.importorskip("lance")
    lance.write_dataset(pa.table({"id": [1, 2]}), tmp_path / "plain.lance")
    with pytest.raises(InputError, match="no column of vectors; it has id"):
        unembed.open_source(tmp_path)
    for file in (tmp_path / "plain.lance" / "_versions").iterdir():
        file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"plain\.lance") as caught:
        unembed.open_source(tmp_path)
    assert "\n" not in str(caught.value)


def test_duckdb_tables(tmp_path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "v.duckdb"
    rows, other = table(ROWS), table(ROWS[:3])
    with duckdb.connect(str(path)) as database:
        database.execute("create table notes (id varchar, text varchar, embedding float[24])")
        database.execute("insert into notes select id, text, vector from rows")
        database.execute("create table lists as select id, cast(vector as float[]) as v from other")
        database.execute("create table plain (a integer)")
        database.execute("create schema more; create table more.notes as select * from notes limit 2")
        database.execute("insert into notes values ('none', 'x', null)")
    before = path.read_bytes()
    assert len(rows) + len(other) == 43
    found = Read(unembed.open_source(path, collection="notes"))
    assert np.array_equal(np.stack(list(found.live.values())), ROWS) and found.texts["rec-07"] == "note 7"
    assert found.source.count == 41 and found.source.skipped == {"is null": 1}
    assert set(unembed.open_source(path).collections) == {"notes", "lists", "more.notes"}
    assert unembed.open_source(path, collection="more.notes").count == 2
    with pytest.raises(InputError, match="no table 'x'; it has"):
        unembed.open_source(path, collection="x")
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["v.duckdb"]
    path.write_bytes(before[:2000])
    with pytest.raises(InputError, match=r"v\.duckdb isn't a readable DuckDB file"):
        unembed.open_source(path)


@pytest.mark.parametrize(
    ("recipe", "exact"),
    [
        ("Flat", True),
        ("IDMap,Flat", True),
        ("IDMap2,Flat", True),
        ("HNSW16", True),
        ("IVF4,Flat", True),
        ("SQ8", False),
        ("PQ4x4", False),
        ("IVF4,SQ8", False),
        ("PCA12,Flat", False),
        ("PQ4x4fs", False),
    ],
)
def test_faiss_indexes(tmp_path, recipe, exact) -> None:
    faiss = pytest.importorskip("faiss")
    rows = vectors_of(400)
    index = faiss.index_factory(24, recipe)
    index.train(rows)
    ids = np.arange(400) * 10 + 5
    own = "IDMap" in recipe or "IVF" in recipe
    index.add_with_ids(rows, ids) if own else index.add(rows)
    faiss.write_index(index, str(tmp_path / "v.faiss"))
    try:
        source = unembed.open_source(tmp_path / "v.faiss")
    except InputError as error:
        assert recipe == "PQ4x4fs" and "can't be read as a FAISS index" in str(error) and "\n" not in str(error)
        return
    found = Read(source, size=64)
    names = [str(number) for number in (ids if own else range(400))]
    assert source.count == 400 and set(found.live) == set(names)
    got = np.stack([found.live[name] for name in names])
    assert np.array_equal(got, rows) if exact else np.abs(got - rows).mean() < 0.2
    assert any("approximations" in note for note in source.notes) != exact


def test_faiss_folders_of_langchain_keep_their_pickle_closed(tmp_path) -> None:
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatL2(24)
    index.add(ROWS)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    (tmp_path / "index.pkl").write_bytes(b"not even a pickle")
    source = unembed.open_source(tmp_path)
    assert source.count == 40 and any("index.pkl" in note for note in source.notes)


def test_a_reader_that_dies_is_an_error_and_not_the_end(tmp_path) -> None:
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatL2(24)
    index.add(ROWS)
    faiss.write_index(index, str(tmp_path / "v.faiss"))
    raw = (tmp_path / "v.faiss").read_bytes()
    for cut in (raw[:30], raw[: len(raw) // 2], b"IxFI" + b"\xff" * 60):
        (tmp_path / "v.faiss").write_bytes(cut)
        with pytest.raises(InputError, match="can't be read as a FAISS index") as caught:
            unembed.open_source(tmp_path / "v.faiss")
        assert "\n" not in str(caught.value)


def test_hdf5_groups(tmp_path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        file["notes/embeddings"] = ROWS
        file["notes/ids"] = [f"rec-{n:02d}" for n in range(40)]
        file["notes/texts"] = [f"note {n}" for n in range(40)]
        file["codes/embeddings"] = np.random.default_rng(0).normal(0, 30, (3, 24)).astype(np.int8)
        file["plain"] = [1, 2, 3]
    found = Read(unembed.open_source(path, collection="notes"))
    assert np.array_equal(np.stack([found.live[f"rec-{n:02d}"] for n in range(40)]), ROWS)
    assert found.texts["rec-05"] == "note 5"
    assert unembed.open_source(path, "codes/embeddings").notes[0].startswith("values are int8 codes")
    assert unembed.open_source(path, "embeddings").collections == ("codes", "notes")
    with pytest.raises(InputError, match="no data set of vectors 'x'; it has"):
        unembed.open_source(path, "x")


def test_hdf5_deleted_sets_are_found_in_space_without_an_owner(tmp_path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "v.h5"
    rows = vectors_of(20, 384)
    with h5py.File(path, "w") as file:
        file["old/embeddings"] = rows[:8]
        file["notes/embeddings"] = rows[8:]
    with h5py.File(path, "a") as file:
        del file["old"]
    found = Read(unembed.open_source(path))
    assert len(found.live) == 12 and any("space of the file" in note for note in found.source.notes)
    assert {vector.tobytes() for vector in found.deleted.values()} == {row.tobytes() for row in rows[:8]}
    assert not Read(unembed.open_source(path, deleted=False)).deleted


@pytest.mark.parametrize(
    ("library", "name", "start", "extra"),
    [
        ("duckdb", "v.duckdb", b"12345678DUCK", "duckdb"),
        ("faiss", "v.faiss", b"IxFI", "faiss"),
        ("h5py", "v.h5", b"\x89HDF\r\n\x1a\n", "hdf5"),
        ("lance", "t.lance/_versions/1.manifest", b"x", "lance"),
        ("psycopg", None, b"", "postgres"),
    ],
)
def test_a_missing_library_names_its_extra(tmp_path, monkeypatch, library, name, start, extra) -> None:
    for module in [
        m for m in sys.modules if m.partition(".")[0] in (library, "unembed_stores") and m != "unembed_stores"
    ]:
        if module.startswith(f"unembed_stores.{extra}") or module.partition(".")[0] == library:
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    place = "postgresql://x/y"
    if name is not None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(start)
        place = tmp_path / name.partition("/")[0]
    with pytest.raises(MissingExtraError, match=rf"pip install 'unembed\[{extra}\]'"):
        unembed.open_source(place)


def test_offering_stores_imports_no_library() -> None:
    code = (
        "import sys, unembed_stores.plugin as p; p.register_sources();"
        "print([m for m in 'torch numpy pyarrow sqlite3 lance duckdb faiss h5py psycopg'.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
