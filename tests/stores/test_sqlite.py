"""SQLite files: any table, llm's, sqlite-vec's chunks, and rows that were deleted."""

import json
import sqlite3

import numpy as np
import pytest

import unembed
from unembed.errors import InputError

from .conftest import Read, vectors_of


def connect(path, *, secure: bool = False, page: int = 4096) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    database.execute(f"pragma page_size = {page}")
    database.execute(f"pragma secure_delete = {int(secure)}")
    return database


def fill(database, rows: np.ndarray, *, table: str = "notes", filler: str = "") -> None:
    database.execute(f"create table {table} (id integer primary key, name text, text text, v blob, extra text)")
    for number, row in enumerate(rows):
        values = (f"n-{number:03d}", f"note {number}", row.tobytes(), filler)
        database.execute(f"insert into {table} (name, text, v, extra) values (?, ?, ?, ?)", values)
    database.commit()


LAYOUTS = [(384, "", 4096), (384, "x" * 500, 1024), (1536, "", 4096), (24, "", 4096)]


@pytest.mark.parametrize(("width", "filler", "page"), LAYOUTS)
def test_deleted_rows_are_found_wherever_they_lay(tmp_path, width, filler, page) -> None:
    """On leaf pages, on free pages, and over overflow pages; some are overwritten by what SQLite moves there."""
    rows = vectors_of(60, width)
    database = connect(tmp_path / "v.db", page=page)
    fill(database, rows, filler=filler)
    gone = [3, 20, 21, 22, 23, 24, 25, 26, 40, 59]
    database.execute(f"delete from notes where id - 1 in ({', '.join(map(str, gone))})")
    database.commit()
    database.close()
    found = Read(unembed.open_source(tmp_path / "v.db"))
    assert len(found.live) == 50
    raw = (tmp_path / "v.db").read_bytes()
    whole = {f"note {number}" for number in gone if rows[number].tobytes() in raw}
    assert whole <= {found.texts[name] for name in found.deleted}
    assert len(found.deleted) >= (4 if filler else 7)
    for name, vector in found.deleted.items():
        number = int(found.texts[name].split()[1])
        assert number in gone and np.array_equal(vector, rows[number])
    assert any("deleted rows" in note for note in found.source.notes)


def test_overwritten_rows_are_not_found(tmp_path) -> None:
    database = connect(tmp_path / "v.db", secure=True)
    fill(database, vectors_of(60, 384))
    database.execute("delete from notes where id < 20")
    database.commit()
    database.close()
    assert not Read(unembed.open_source(tmp_path / "v.db")).deleted


def test_copies_that_rows_leave_when_they_move_are_not_deleted_records(tmp_path) -> None:
    """Rows are inserted in an order that splits pages, then a table is dropped beside them."""
    rows = vectors_of(200, 96)
    database = connect(tmp_path / "v.db", page=1024)
    database.execute("create table notes (id integer primary key, text text, v blob)")
    for number in np.random.default_rng(1).permutation(200).tolist():
        database.execute("insert into notes values (?, ?, ?)", (number, f"note {number}", rows[number].tobytes()))
        database.commit()
    database.execute("delete from notes where id in (7, 8)")
    database.commit()
    database.close()
    found = Read(unembed.open_source(tmp_path / "v.db"))
    assert len(found.live) == 198 and len(found.deleted) <= 2
    assert all(any(np.array_equal(vector, rows[gone]) for gone in (7, 8)) for vector in found.deleted.values())


def test_vectors_as_text_and_the_choice_among_tables(tmp_path) -> None:
    rows = vectors_of(4)
    database = connect(tmp_path / "v.db")
    database.execute("create table plain (key text, body text, vector text, score real)")
    for number, row in enumerate(rows):
        text = json.dumps([float(value) for value in row])
        database.execute("insert into plain values (?, ?, ?, 0.5)", (f"k{number}", f"note {number}", text))
    fill(database, rows, table="blobs")
    database.execute("create table other (a integer)")
    database.commit()
    database.close()
    source = unembed.open_source(tmp_path / "v.db")
    assert source.collections == ("plain", "blobs") and Read(source).source.total == 8
    found = Read(unembed.open_source(tmp_path / "v.db", collection="plain"))
    assert list(found.live) == ["k0", "k1", "k2", "k3"] and np.array_equal(found.live["k1"], rows[1])
    assert found.texts["k2"] == "note 2" and found.payloads["k0"] == {"score": 0.5}
    assert Read(unembed.open_source(tmp_path / "v.db", "v")).source.total == 4
    with pytest.raises(InputError, match="no table 'x' with vectors; its tables: plain, blobs, other"):
        unembed.open_source(tmp_path / "v.db", collection="x")


def vec_table(database, rows: np.ndarray, valid: list[int], *, size: int = 8, key: bool = False, kind="float") -> None:
    """What sqlite-vec's vec0 writes for `notes`, without the extension."""
    declared = f"id text primary key, embedding {kind}[24], +text text" if key else f"embedding {kind}[24], +text text"
    database.execute("pragma writable_schema = on")
    sql = f"CREATE VIRTUAL TABLE notes using vec0({declared}, chunk_size={size})"
    database.execute("insert into sqlite_master values ('table', 'notes', 'notes', 0, ?)", (sql,))
    database.execute(
        "create table notes_chunks (chunk_id integer primary key, size integer, validity blob, rowids blob)"
    )
    database.execute("create table notes_vector_chunks00 (rowid primary key, vectors blob not null)")
    database.execute(
        "create table notes_rowids (rowid integer primary key, id, chunk_id integer, chunk_offset integer)"
    )
    database.execute("create table notes_auxiliary (rowid integer primary key, value00)")
    for chunk, first in enumerate(range(0, len(rows), size), 1):
        part = rows[first : first + size]
        bits = np.zeros(size, np.uint8)
        bits[[n - first for n in valid if first <= n < first + size]] = 1
        numbers = np.zeros(size, "<i8")
        numbers[: len(part)] = np.arange(first, first + len(part)) + 100
        blob = part.tobytes() + bytes((size - len(part)) * part[0].nbytes)
        packed = np.packbits(bits, bitorder="little").tobytes()
        database.execute("insert into notes_chunks values (?, ?, ?, ?)", (chunk, size, packed, numbers.tobytes()))
        database.execute("insert into notes_vector_chunks00 values (?, ?)", (chunk, blob))
    for number in range(len(rows)):
        database.execute("insert into notes_rowids values (?, ?, 1, 0)", (100 + number, f"k{number}" if key else None))
        database.execute("insert into notes_auxiliary values (?, ?)", (100 + number, f"note {number}"))
    database.commit()
    database.close()


@pytest.mark.parametrize("key", [False, True])
def test_sqlite_vecs_chunks_are_read_without_the_extension(tmp_path, key) -> None:
    rows = vectors_of(20)
    rows[5] = 0  # a slot that a newer version zeroed
    vec_table(connect(tmp_path / "v.db"), rows, [n for n in range(20) if n not in (5, 9, 19)], key=key)
    found = Read(unembed.open_source(tmp_path / "v.db"))
    name = (lambda n: f"k{n}") if key else (lambda n: str(100 + n))
    assert set(found.deleted) == {name(9), name(19)} and len(found.live) == 17 and not found.source.skipped
    assert np.array_equal(found.deleted[name(9)], rows[9]) and np.array_equal(found.live[name(18)], rows[18])
    assert found.texts[name(9)] == "note 9" and found.source.kind == "sqlite-vec tables"


def test_sqlite_vecs_codes_are_said_to_be_codes(tmp_path) -> None:
    rows = np.random.default_rng(0).normal(0, 30, (4, 24)).astype(np.int8)
    vec_table(connect(tmp_path / "v.db"), rows, [0, 1, 2, 3], kind="int8")
    source = unembed.open_source(tmp_path / "v.db")
    assert source.notes[0].startswith("values are int8 codes") and source.width == 24


def test_a_write_ahead_log_is_read_and_nothing_is_written(tmp_path) -> None:
    database = connect(tmp_path / "v.db")
    database.execute("pragma journal_mode = wal")
    fill(database, vectors_of(5))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert "v.db-wal" in before
    log = (tmp_path / "v.db-wal").read_bytes()
    assert len(Read(unembed.open_source(tmp_path / "v.db")).live) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == before and (tmp_path / "v.db-wal").read_bytes() == log
    database.close()


def test_a_damaged_file_is_one_line(tmp_path) -> None:
    database = connect(tmp_path / "v.db")
    fill(database, vectors_of(50, 384))
    database.close()
    whole = (tmp_path / "v.db").read_bytes()
    for cut in (b"SQLite format 3\0", whole[:3000], whole[:4096] + b"\xff" * 40000):
        (tmp_path / "w.db").write_bytes(cut)
        with pytest.raises(InputError, match=r"w\.db") as caught:
            Read(unembed.open_source(tmp_path / "w.db"))
        assert "\n" not in str(caught.value)
    database = connect(tmp_path / "empty.db")
    database.execute("create table a (b integer)")
    database.close()
    with pytest.raises(InputError, match="no table with vectors; its tables: a"):
        unembed.open_source(tmp_path / "empty.db")
