"""`invert --out`: rows are kept as they come, a run goes on where it stopped, and nobody else's file is touched."""

import json
import os
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from unembed.inversion.inverter import Inverter
from unembed.testing.toy import toy_inverter, words

COUNT = 10


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Ten vectors, of which three are searched together."""
    monkeypatch.setattr("unembed.inversion.stream.CPU_AT_ONCE", 3)
    np.save(tmp_path / "many.npy", toy_inverter().embed(words(COUNT)).numpy())
    return tmp_path / "many.npy"


@pytest.fixture
def searched(monkeypatch):
    """Counts the vectors that are searched; after `limit` of them the process is as good as dead."""
    invert = Inverter.invert
    seen = {"count": 0, "limit": 10**9}

    def counted(self, vectors, **options):
        if seen["count"] >= seen["limit"]:
            raise KeyboardInterrupt
        seen["count"] += len(vectors)
        return invert(self, vectors, **options)

    monkeypatch.setattr(Inverter, "invert", counted)
    return seen


def command(vectors, out, *more):
    return ("invert", "--vectors", vectors, "--inverter", "toy", "--steps", 1, "--out", out, *more)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("torn", [0, 5, 60])
def test_a_stopped_run_goes_on_after_its_rows(run, many, searched, tmp_path, torn) -> None:
    out = tmp_path / "r.jsonl"
    assert run(*command(many, tmp_path / "whole.jsonl"))[0] == 0
    searched |= {"count": 0, "limit": 6}
    assert run(*command(many, out))[0] == 130
    assert [row["index"] for row in rows(out)] == list(range(6))
    with open(out, "a") as file:
        file.write(out.read_text()[:torn])  # a row that a kill cut short
    searched |= {"count": 0, "limit": 10**9}
    code, _, err = run(*command(many, out))
    assert code == 0 and "10 reconstructions" in err and "6 of them before" in err and searched["count"] == 4
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()
    code, _, err = run(*command(many, out))
    assert code == 0 and searched["count"] == 4 and "10 of them before" in err


def test_texts_go_on_too(run, many, searched, tmp_path) -> None:
    texts = ("invert", *words(COUNT), "--inverter", "toy", "--steps", 1, "--out", tmp_path / "r.jsonl")
    searched["limit"] = 3
    assert run(*texts)[0] == 130
    searched["limit"] = 10**9
    assert run(*texts)[0] == 0 and searched["count"] == COUNT
    found = rows(tmp_path / "r.jsonl")
    assert [row["input"] for row in found] == words(COUNT)
    assert all(row["exact"] == (row["reconstruction"] == row["input"]) for row in found)


def test_a_table_is_made_at_the_end_of_rows_that_were_kept(run, many, searched, tmp_path) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "r.parquet"
    run(*command(many, tmp_path / "whole.jsonl"))
    searched |= {"count": 0, "limit": 6}
    assert run(*command(many, out))[0] == 130
    assert not out.exists() and len(rows(tmp_path / "r.parquet.jsonl")) == 6
    searched |= {"count": 0, "limit": 10**9}
    assert run(*command(many, out))[0] == 0 and searched["count"] == 4
    found, wanted = pq.read_table(out).to_pylist(), rows(tmp_path / "whole.jsonl")
    assert [row["reconstruction"] for row in found] == [row["reconstruction"] for row in wanted]
    assert [row["similarity"] for row in found] == [row["similarity"] for row in wanted]
    assert not (tmp_path / "r.parquet.jsonl").exists()
    assert run(*command(many, out))[0] == 0 and searched["count"] == 4
    assert run(*command(many, out, "--seed", 1))[0] == 2
    assert run(*command(many, out, "--seed", 1, "--restart"))[0] == 0 and searched["count"] == 14


def test_words_are_a_column_of_the_table(tmp_path) -> None:
    import pyarrow.parquet as pq

    from unembed.inversion.tables import KeptTable

    with KeptTable(tmp_path / "r.parquet", inputs="0" * 8, settings="1" * 8) as table:
        table.append([{"index": 0, "reconstruction": "cafe", "words": [["cafe", 0.5]]}, {"index": 1, "words": None}])
        table.finish()
    found = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert [row["words"] for row in found] == [[{"word": "cafe", "probability": 0.5}], None]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--seed", 5), "other settings"),
        (("--beam", 2), "other settings"),
        (("--effort", "low"), "other settings"),
        (("--precision", "int8"), "other settings"),
        (("--vectors", "other.npy"), "other inputs"),
    ],
)
def test_a_run_with_others_is_refused_until_it_restarts(run, many, tmp_path, monkeypatch, more, says) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("other.npy", np.load(many)[::-1])
    out = tmp_path / "r.jsonl"
    run(*command(many, out))
    before = out.read_bytes()
    code, _, err = run(*command(many, out), *more)
    assert code == 2 and says in err and len(err.splitlines()) == 1 and out.read_bytes() == before
    assert run(*command(many, out), *more, "--restart")[0] == 0
    assert len(rows(out)) == COUNT and out.read_bytes() != before


FOREIGN = {
    "text": b"my notes\n",
    "json lines": b'{"reconstruction": "mine"}\n',
    "no line's end": b'{"run": "my own log',
    "a run alone": b'{"run": 5}\n',
    "bytes": b"\x93NUMPY\x01\x00",
}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["r.jsonl", "r.parquet", "r.parquet.jsonl", "no-ending"])
@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_another_is_never_replaced(run, many, tmp_path, content, name, restart) -> None:
    (tmp_path / name).write_bytes(content)
    out = tmp_path / name.removesuffix(".jsonl") if name == "r.parquet.jsonl" else tmp_path / name
    code, _, err = run(*command(many, out), *(["--restart"] if restart else []))
    assert code == 2 and len(err.splitlines()) == 1 and "wasn't written by" in err
    assert (tmp_path / name).read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.npy", name]


def test_the_vectors_themselves_are_no_output(run, many, tmp_path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(many)
    before = many.read_bytes()
    for name in ("many.npy", "x/../many.npy", "link"):
        code, _, err = run(*command(many, tmp_path / name))
        assert code == 2 and len(err.splitlines()) == 1 and many.read_bytes() == before


def test_links_modes_and_the_umask_are_kept(run, many, tmp_path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real" / "r.jsonl")  # which isn't there yet
    old = os.umask(0o077)
    try:
        assert run(*command(many, tmp_path / "link.jsonl"))[0] == 0
    finally:
        os.umask(old)
    real = tmp_path / "real" / "r.jsonl"
    assert (tmp_path / "link.jsonl").is_symlink() and len(rows(real)) == COUNT
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    real.chmod(0o640)
    os.link(real, tmp_path / "hard.jsonl")
    assert run(*command(many, tmp_path / "link.jsonl", "--seed", 1, "--restart"))[0] == 0
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert (tmp_path / "hard.jsonl").read_bytes() == real.read_bytes()


def places(tmp_path):
    """What can't take rows: (a name for `--out`, what is said)."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "to-folder").symlink_to(tmp_path / "folder")
    return {
        "": "is a folder", ".": "is a folder", "/": "is a folder", "folder": "is a folder", "to-folder": "is a folder",
        "none/r.jsonl": "no folder", "file/r.jsonl": "Not a directory", "r" * 300: "too long", "/dev/full": "a device",
        "r.csv": "can't be .csv",
    }  # fmt: skip


def test_what_cannot_be_written_is_said_before_anything_is_opened(run, many, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unembed.inversion.inverter.Inverter.embed", None)
    monkeypatch.setattr("unembed.inversion.inverter.Inverter.invert", None)
    found = places(tmp_path)
    before = sorted(os.listdir(tmp_path))
    for name, says in found.items():
        code, out, err = run(*command(many, name))
        assert (code, out) == (2, "") and says in err and len(err.splitlines()) == 1, (name, err)
    assert sorted(os.listdir(tmp_path)) == before


def test_pipes_and_the_null_device_take_rows(run, many, tmp_path) -> None:
    assert run(*command(many, os.devnull))[0] == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True)
    assert run(*command(many, tmp_path / "pipe"))[0] == 0
    found, _ = reader.communicate(timeout=60)
    assert len(found.splitlines()) == COUNT and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_name_as_long_as_names_can_be(run, many, tmp_path) -> None:
    name = "r" * 249 + ".jsonl"
    assert run(*command(many, tmp_path / name))[0] == 0 and len(rows(tmp_path / name)) == COUNT


def test_a_second_process_on_the_same_file_is_refused(run, many, tmp_path) -> None:
    import fcntl

    with open(tmp_path / "r.jsonl", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, _, err = run(*command(many, tmp_path / "r.jsonl"))
        assert code == 2 and "another process" in err


def test_a_full_disk_keeps_the_rows_that_fitted(many, tmp_path, forking) -> None:
    """A limit on the size of files is the same to a program as a disk without room."""
    script = (
        "import sys, resource, signal\n"
        "from importlib.metadata import EntryPoint\n"
        "from unembed.registry import discovery\n"
        "from unembed.inversion import stream\n"
        "from unembed import cli\n"
        "real = tuple(discovery.entry_points(group='unembed'))\n"
        "toy = EntryPoint('toy', 'unembed.testing.toy', 'unembed')\n"
        "discovery.entry_points = lambda group: (*real, toy)\n"
        "stream.CPU_AT_ONCE = 3\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "size = int(sys.argv.pop(1))\n"
        "if size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "sys.exit(cli._run(sys.argv[1:]))\n"
    )
    words_ = list(map(str, command(many, tmp_path / "r.jsonl")))
    full = forking.run("-c", script, "1500", *words_)
    assert full.returncode == 1 and len(full.stderr.splitlines()) == 1
    assert full.stderr.startswith("error: can't write") and "rows so far are kept" in full.stderr
    kept = rows(tmp_path / "r.jsonl")
    assert kept and [row["index"] for row in kept] == list(range(len(kept)))
    done = forking.run("-c", script, "0", *words_)
    assert done.returncode == 0 and [row["index"] for row in rows(tmp_path / "r.jsonl")] == list(range(COUNT))


def test_out_within_the_source_is_refused(run, many, tmp_path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "folder"
    folder.mkdir()
    pq.write_table(pa.table({"embedding": np.load(many).tolist()}), folder / "a.parquet")
    assert run(*command(folder, tmp_path / "r.jsonl"))[0] == 0
    code, _, err = run(*command(folder, folder / "r.jsonl"))
    assert code == 2 and "lies within" in err and sorted(os.listdir(folder)) == ["a.parquet"]


def test_dry_runs_create_nothing(run, many, tmp_path) -> None:
    for name in ("r.jsonl", "r.parquet"):
        assert run(*command(many, tmp_path / name, "--dry-run"))[0] == 0
    assert [path.name for path in Path(tmp_path).iterdir()] == ["many.npy"]
