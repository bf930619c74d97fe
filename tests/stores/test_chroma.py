"""Chroma's folders, made here by hand in the form that chromadb gives them."""

import json
import pickle
import sqlite3
import struct

import numpy as np
import pytest

import unembed
from unembed.errors import InputError

from .conftest import WIDTH, Read, vectors_of

ROWS = vectors_of(8)
SCHEMA = """
create table collections (id text primary key, name text not null, dimension integer, config_json_str text,
  schema_str text);
create table collection_metadata (collection_id text, key text not null, str_value text);
create table segments (id text primary key, type text not null, scope text not null, collection text);
create table embeddings (id integer primary key, segment_id text not null, embedding_id text not null, seq_id blob,
  created_at timestamp, unique (segment_id, embedding_id));
create table embedding_metadata (id integer, key text not null, string_value text, int_value integer, float_value real,
  bool_value integer, primary key (id, key));
create table embeddings_queue (seq_id integer primary key, created_at timestamp not null default current_timestamp,
  operation integer not null, topic text not null, id text not null, vector blob, encoding text, metadata text);
"""


class Chroma:
    """A folder with one collection `notes`, in which things are done as chromadb would."""

    def __init__(self, folder, space: str = "l2") -> None:
        self.folder = folder
        self.database = sqlite3.connect(folder / "chroma.sqlite3")
        self.database.executescript(SCHEMA)
        config = json.dumps({"hnsw": {"space": space}})
        self.database.execute("insert into collections values ('c1', 'notes', ?, ?, null)", (WIDTH, config))
        for scope in ("VECTOR", "METADATA"):
            self.database.execute("insert into segments values (?, 'x', ?, 'c1')", (scope.lower(), scope))

    def queue(self, operation: int, name: str, vector: np.ndarray | None = None) -> None:
        """0 add, 1 update, 2 upsert, 3 delete."""
        raw = None if vector is None else vector.astype("<f4").tobytes()
        metadata = json.dumps({"chroma:document": f"text of {name}", "kind": "a"})
        values = (operation, "persistent://default/default/c1", name, raw, "FLOAT32", metadata)
        insert = (
            "insert into embeddings_queue (operation, topic, id, vector, encoding, metadata) values (?, ?, ?, ?, ?, ?)"
        )
        self.database.execute(insert, values)
        if operation == 3:
            self.database.execute("delete from embeddings where embedding_id = ?", (name,))
        else:
            self.database.execute(
                "insert or ignore into embeddings (segment_id, embedding_id) values ('metadata', ?)", (name,)
            )
            number = self.database.execute("select id from embeddings where embedding_id = ?", (name,)).fetchone()[0]
            for key, text in (("chroma:document", f"text of {name}"), ("kind", "a")):
                self.database.execute(
                    "insert or replace into embedding_metadata (id, key, string_value) values (?, ?, ?)",
                    (number, key, text),
                )

    def index(self, names: list[str | None], vectors: np.ndarray, *, segment="vector", marked=(), norms=None) -> None:
        """Index files; a name of None is an id that is gone."""
        folder = self.folder / segment
        folder.mkdir()
        size = 132 + 4 * WIDTH + 8
        header = struct.pack("<iQQQQQQ", 1, 0, 1000, len(names), size, 132 + 4 * WIDTH, 132)
        (folder / "header.bin").write_bytes(header + bytes(100 - len(header)))
        body = bytearray(size * 1000)
        for place, vector in enumerate(vectors):
            at = place * size
            body[at + 2] = 1 if place in marked else 0
            body[at + 132 : at + 132 + 4 * WIDTH] = vector.astype("<f4").tobytes()
            body[at + size - 8 : at + size] = struct.pack("<Q", place + 1)
        (folder / "data_level0.bin").write_bytes(body)
        lengths = np.ones(1000, "<f4") if norms is None else np.asarray(norms, "<f4")
        (folder / "length.bin").write_bytes(lengths.tobytes())
        labels = {name: place + 1 for place, name in enumerate(names) if name is not None}
        (folder / "index_metadata.pickle").write_bytes(pickle.dumps({"id_to_label": labels}, 3))

    def read(self, **options) -> Read:
        self.database.commit()
        self.database.close()
        return Read(unembed.open_source(self.folder, **options))


@pytest.fixture
def chroma(tmp_path):
    made = Chroma(tmp_path)
    yield made
    made.database.close()


def test_the_queue_is_replayed(chroma) -> None:
    chroma.queue(0, "a", ROWS[0])
    chroma.queue(0, "b", ROWS[1])
    chroma.queue(0, "c", ROWS[2])
    chroma.queue(2, "b", ROWS[3])
    chroma.queue(0, "a", ROWS[4])  # an add of an id that is there is ignored
    chroma.queue(1, "c")  # an update of the metadata alone
    chroma.queue(3, "c")
    found = chroma.read()
    assert {name: found.live[name].tolist() for name in found.live} == {"a": ROWS[0].tolist(), "b": ROWS[3].tolist()}
    assert np.array_equal(found.deleted["b"], ROWS[1]) and np.array_equal(found.deleted["c"], ROWS[2])
    assert found.texts == {name: f"text of {name}" for name in "abc"}
    assert found.collections["a"] == "notes" and found.payloads["a"] == {"kind": "a"}


def test_a_record_deleted_and_added_again_lives_with_its_last_vector(chroma) -> None:
    for operation, vector in ((0, ROWS[0]), (3, None), (0, ROWS[1])):
        chroma.queue(operation, "a", vector)
    found = chroma.read()
    assert np.array_equal(found.live["a"], ROWS[1]) and np.array_equal(found.deleted["a"], ROWS[0])


def test_the_index_gives_what_the_queue_no_longer_has(chroma) -> None:
    chroma.queue(0, "a", ROWS[0])
    chroma.queue(0, "b", ROWS[1])
    chroma.database.execute("delete from embeddings_queue")
    chroma.queue(2, "b", ROWS[5])
    chroma.index(["a", "b", None, "gone"], ROWS[:4], marked=(3,))
    found = chroma.read()
    assert np.array_equal(found.live["a"], ROWS[0]) and np.array_equal(found.live["b"], ROWS[5])
    assert np.array_equal(found.deleted["label 3"], ROWS[2]) and np.array_equal(found.deleted["gone"], ROWS[3])
    assert len(found.live) == 2


def test_a_cosine_index_is_multiplied_by_its_norms_and_that_is_said(tmp_path) -> None:
    chroma = Chroma(tmp_path, space="cosine")
    chroma.queue(0, "a", ROWS[0])
    chroma.database.execute("delete from embeddings_queue")
    norms = np.ones(1000)
    norms[0] = 5.0
    chroma.index(["a"], ROWS[:1], norms=norms)
    found = chroma.read()
    assert np.allclose(found.live["a"], ROWS[0] * 5)
    assert any("cosine collection" in note and "notes" in note for note in found.source.notes)


def test_a_folder_that_no_collection_names_is_a_deleted_collection(chroma) -> None:
    chroma.queue(0, "a", ROWS[0])
    chroma.index(["x", "y"], ROWS[2:4], segment="orphan")
    found = chroma.read()
    assert set(found.deleted) == {"x", "y"} and found.collections["x"] == "(deleted orphan)"
    assert not Read(unembed.open_source(chroma.folder, deleted=False)).deleted
    assert not Read(unembed.open_source(chroma.folder, collection="notes")).deleted


def test_its_sqlite_file_and_its_name_do_as_well(chroma) -> None:
    chroma.queue(0, "a", ROWS[0])
    assert set(chroma.read().live) == {"a"}
    assert unembed.open_source(chroma.folder / "chroma.sqlite3").kind == "Chroma"
    assert unembed.open_source(f"chroma:{chroma.folder}").collections == ("notes",)
    with pytest.raises(InputError, match="no collection 'other'; it has notes"):
        unembed.open_source(chroma.folder, collection="other")


@pytest.mark.parametrize("name", ["header.bin", "index_metadata.pickle"])
def test_damaged_index_files_are_named(chroma, name) -> None:
    chroma.queue(0, "a", ROWS[0])
    chroma.index(["a"], ROWS[:1])
    file = chroma.folder / "vector" / name
    file.write_bytes(b"\xff" * 100 if name == "header.bin" else file.read_bytes()[:-9])
    with pytest.raises(InputError, match=name) as caught:
        chroma.read()
    assert "\n" not in str(caught.value)


def test_nothing_is_written(chroma) -> None:
    chroma.queue(0, "a", ROWS[0])
    chroma.index(["a"], ROWS[:1])
    chroma.database.commit()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in chroma.folder.rglob("*") if path.is_file()}
    chroma.read()
    assert before == {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in chroma.folder.rglob("*") if path.is_file()
    }
