"""Qdrant's local mode, its files made here by hand in the form that qdrant-client gives them."""

import base64
import json
import pickle
import sqlite3
import sys
from types import ModuleType

import numpy as np
import pytest

import unembed
from unembed.errors import InputError

from .conftest import Read, vectors_of

ROWS = vectors_of(6)


@pytest.fixture
def point_class(monkeypatch):
    """A stand-in for the client's class, so that pickles name it; gone while they are read."""
    module = ModuleType("qdrant_client.http.models.models")

    class PointStruct:
        def __init__(self, **values) -> None:
            self.__dict__.update(values)

        def __setstate__(self, state) -> None:
            raise AssertionError("a point was unpickled")

        def __getstate__(self):
            return {"__dict__": self.__dict__, "__pydantic_extra__": None, "__pydantic_fields_set__": {"id"}}

    PointStruct.__module__, PointStruct.__qualname__ = module.__name__, "PointStruct"
    module.PointStruct = PointStruct
    for parent in ("qdrant_client", "qdrant_client.http", "qdrant_client.http.models"):
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return PointStruct


def write(folder, points, distance: str = "Dot") -> None:
    (folder / "collection" / "notes").mkdir(parents=True)
    meta = {"collections": {"notes": {"vectors": {"size": 24, "distance": distance}}}, "aliases": {}}
    (folder / "meta.json").write_text(json.dumps(meta))
    database = sqlite3.connect(folder / "collection" / "notes" / "storage.sqlite")
    database.execute("create table points (id text primary key, point blob)")
    for point in points:
        raw = point if isinstance(point, bytes) else pickle.dumps(point)
        name = base64.b64encode(pickle.dumps(getattr(point, "id", 99))).decode()
        database.execute("insert into points values (?, ?)", (name, raw))
    database.commit()
    database.close()


def test_points_are_read_without_unpickling(tmp_path, point_class) -> None:
    points = [
        point_class(id=n, vector=[float(x) for x in row], payload={"text": f"note {n}", "kind": "a"})
        for n, row in enumerate(ROWS)
    ]
    write(tmp_path, points, distance="Cosine")
    found = Read(unembed.open_source(tmp_path))
    assert list(found.live) == [str(n) for n in range(6)]
    assert np.array_equal(np.stack(list(found.live.values())), ROWS)
    assert found.texts["3"] == "note 3" and found.payloads["3"] == {"kind": "a"}
    assert any("never loaded" in note for note in found.source.notes)
    assert any("normalised" in note for note in found.source.notes)
    with pytest.raises(InputError, match="no collection 'x'; it has notes"):
        unembed.open_source(tmp_path, collection="x")


def test_a_row_that_is_no_pickle_is_skipped_and_named(tmp_path, point_class) -> None:
    write(tmp_path, [point_class(id=1, vector=[0.5] * 24, payload=None), b"\x80\x04]Q."])
    found = Read(unembed.open_source(tmp_path))
    assert list(found.live) == ["1"] and found.source.skipped_rows[0].id == "99"
    assert "BINPERSID" in found.source.skipped_rows[0].reason


def test_points_of_several_vectors(tmp_path, point_class) -> None:
    several = [{"small": [0.5, 0.25], "large": [float(x) for x in row]} for row in ROWS]
    write(tmp_path, [point_class(id=n, vector=vectors, payload={}) for n, vectors in enumerate(several)])
    assert unembed.open_source(tmp_path, "large").width == 24
    source = unembed.open_source(tmp_path, width=24)
    assert source.width == 24 and Read(source).collections["0"] == "notes/large"
