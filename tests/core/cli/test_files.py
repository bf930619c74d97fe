"""Where results are files: a folder that is ours alone, filled as searches end, gone on with after a stop."""

import json
import os

import numpy as np
import pytest

from unembed.inversion.inverter import Inverter
from unembed.registry.specs import Modality
from unembed.testing.toy import toy_inverter, words

COUNT = 8


def write(folder, inverter, inputs, found, first=0):
    paths = []
    for number, word in enumerate(found.objects, first):
        name = "vector" if inputs is None else inputs[number - first]
        paths.append(folder / f"{number}-{name}.txt")
        paths[-1].write_text(word)
    return paths


@pytest.fixture
def searched(monkeypatch, tmp_path):
    """Words that come back as files, three at a time; counts what is searched, and stops after `limit`."""
    monkeypatch.setattr("unembed.registry.discovery.modality_of", lambda model: Modality("toy", "words", write=write))
    monkeypatch.setattr("unembed.inversion.stream.CPU_AT_ONCE", 3)
    np.save(tmp_path / "v.npy", toy_inverter().embed(words(COUNT)).numpy())
    invert, seen = Inverter.invert, {"count": 0, "limit": 10**9}

    def counted(self, vectors, **options):
        if seen["count"] >= seen["limit"]:
            raise KeyboardInterrupt
        seen["count"] += len(vectors)
        return invert(self, vectors, **options)

    monkeypatch.setattr(Inverter, "invert", counted)
    return seen


def command(tmp_path, *more):
    return (
        "invert",
        "--vectors",
        tmp_path / "v.npy",
        "--inverter",
        "toy",
        "--steps",
        0,
        "--out",
        tmp_path / "o",
        *more,
    )


def test_files_are_written_as_searches_end_and_gone_on_with(run, searched, tmp_path) -> None:
    searched["limit"] = 3
    assert run(*command(tmp_path))[0] == 130
    assert sorted(os.listdir(tmp_path / "o")) == ["0-vector.txt", "1-vector.txt", "2-vector.txt", "results.jsonl"]
    searched["limit"] = 10**9
    code, out, err = run(*command(tmp_path, "--json"))
    assert code == 0 and searched["count"] == COUNT and "8 reconstructions" in err
    assert len(os.listdir(tmp_path / "o")) == COUNT + 1
    assert [json.loads(line)["index"] for line in out.splitlines()] == list(range(3, COUNT))
    code, _, err = run(*command(tmp_path, "--seed", 3))
    assert code == 2 and "other settings" in err
    assert run(*command(tmp_path, "--seed", 3, "--restart"))[0] == 0 and searched["count"] == 2 * COUNT


@pytest.mark.parametrize("name", ["0-vector.txt", "notes.txt", "results.jsonl", "folder/x"])
def test_a_folder_with_files_of_another_is_refused(run, searched, tmp_path, name) -> None:
    path = tmp_path / "o" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    for more in ((), ("--restart",)):
        code, _, err = run(*command(tmp_path, *more))
        assert code == 2 and len(err.splitlines()) == 1 and path.read_text() == "mine" and searched["count"] == 0


def test_a_folder_is_made_when_there_is_something_to_put_in(run, searched, tmp_path) -> None:
    searched["limit"] = 0
    for more, code in ((("--dry-run",), 0), (("--vectors", tmp_path / "none.npy"), 2), ((), 130)):
        assert run(*command(tmp_path, *more))[0] == code and not (tmp_path / "o").exists()
    (tmp_path / "o").write_text("a file")
    assert run(*command(tmp_path))[0] == 2 and (tmp_path / "o").read_text() == "a file"
    assert run("invert", "--vectors", tmp_path / "v.npy", "--inverter", "toy")[0] == 2  # no folder is named
