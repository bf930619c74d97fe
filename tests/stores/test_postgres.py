"""A real PostgreSQL, started and stopped here; with pgvector where it is installed, else with other columns."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

import unembed
from unembed.errors import InputError

from .conftest import Read, vectors_of

psycopg = pytest.importorskip("psycopg", reason="the extra 'postgres' isn't installed")


def programs() -> Path | None:
    found = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    initdb = shutil.which("initdb")
    return found[-1] if found else Path(initdb).parent if initdb else None


@pytest.fixture(scope="module")
def server():
    """The URL of a server of our own, which listens on a socket in a temporary folder."""
    bin_ = programs()
    if bin_ is None:
        pytest.skip("PostgreSQL isn't installed (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="unembed-pg-"))
    user = None
    if os.getuid() == 0:
        user = "postgres"
        shutil.chown(folder, user)
    data = folder / "data"

    def run(*words: object) -> None:
        subprocess.run([*map(str, words)], check=True, capture_output=True, user=user, cwd=folder, timeout=120)

    try:
        run(bin_ / "initdb", "-D", data, "-U", "unembed", "-A", "trust", "-N")
        run(bin_ / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", f"-k {folder} -c listen_addresses=", "start")
        try:
            yield f"postgresql://unembed@/postgres?host={folder}"
        finally:
            run(bin_ / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def has_pgvector(server: str) -> bool:
    with psycopg.connect(server) as connection:
        query = "select 1 from pg_available_extensions where name = 'vector'"
        return connection.execute(query).fetchone() is not None


@pytest.fixture
def database(server):
    """A connection to an empty database."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("drop schema if exists public cascade; create schema public")
        yield connection


def fill(database, declared: str, rows: np.ndarray, table: str = "notes") -> None:
    database.execute(f"create table {table} (id bigint primary key, body text, tags jsonb, embedding {declared})")
    for number, row in enumerate(rows):
        text = "[" + ",".join(repr(float(value)) for value in row) + "]"
        value = list(map(float, row)) if declared.startswith("real") else text
        values = (100 + number, f"note {number}", '{"kind": "a"}', value)
        database.execute(f"insert into {table} values (%s, %s, %s, %s)", values)


def test_columns_of_real_are_read(server, database) -> None:
    rows = vectors_of(5)
    fill(database, "real[]", rows)
    found = Read(unembed.open_source(server))
    assert found.source.count == 5 and found.source.collections == ("notes",) and found.source.kind == "PostgreSQL"
    assert np.array_equal(np.stack([found.live[str(100 + n)] for n in range(5)]), rows)
    assert found.texts["101"] == "note 1" and found.payloads["101"]["tags"] == {"kind": "a"}


@pytest.mark.parametrize("declared", ["vector(24)", "vector", "halfvec(24)", "sparsevec(24)"])
def test_pgvectors_types_are_read(server, database, declared) -> None:
    if not has_pgvector(server):
        pytest.skip("pgvector isn't installed (Debian: apt install postgresql-NN-pgvector)")
    database.execute("create extension vector")
    rows = vectors_of(5)
    if declared.startswith("sparsevec"):
        database.execute("create table notes (id bigint, embedding sparsevec(24))")
        for number, row in enumerate(rows):
            pairs = ",".join(f"{place + 1}:{float(value)!r}" for place, value in enumerate(row))
            database.execute("insert into notes values (%s, %s)", (100 + number, f"{{{pairs}}}/24"))
    else:
        fill(database, declared, rows)
    database.execute("insert into notes (id) values (7)")
    found = Read(unembed.open_source(server))
    got = np.stack([found.live[str(100 + n)] for n in range(5)])
    assert np.array_equal(got, rows.astype(np.float16).astype(np.float32) if "half" in declared else rows)
    assert found.source.skipped == {"is null": 1} and found.source.skipped_rows[0].id == "7"
    assert any("half floats" in note for note in found.source.notes) == declared.startswith("halfvec")


def test_a_column_of_text_is_a_choice_by_name(server, database) -> None:
    fill(database, "real[]", vectors_of(2))
    fill(database, "real[]", vectors_of(3), table="other")
    assert Read(unembed.open_source(server, collection="other")).source.total == 3
    assert unembed.open_source(server).collections == ("notes", "other")
    with pytest.raises(InputError, match="no table with vectors called 'none'; its tables: notes, other"):
        unembed.open_source(server, collection="none")
    with pytest.raises(InputError, match="'embedding2'"):
        unembed.open_source(server, "embedding2")


def test_nothing_can_be_written(server, database) -> None:
    from unembed_stores.postgres import _connected

    fill(database, "real[]", vectors_of(1))
    with pytest.raises(InputError, match="read-only"), _connected(server) as connection:
        connection.execute("delete from notes")


def test_a_password_is_never_shown() -> None:
    with pytest.raises(InputError, match=r"postgresql://me:\*\*\*@127\.0\.0\.1:1/x can't be read") as caught:
        unembed.open_source("postgresql://me:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(caught.value)
