"""`unembed defend`, typed."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from unembed import cli
from unembed.testing.toy import toy_inverter, words
from unembed_defend.commands import defend as command


@pytest.fixture
def run(toy_plugin, capsys):
    """`run("--defence", …)` gives the exit code, standard output and standard error."""

    def call(*arguments):
        code = cli._run(["defend", "--inverter", "toy", *(str(word) for word in arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(dict.fromkeys(words(900, seed=3))) + "\n")
    return path


SMALL = ("--samples", 8, "--pilot", 4, "--max-tokens", 5)


def test_a_table_is_printed_and_a_report_written(run, texts, tmp_path) -> None:
    code, out, err = run("--data", texts, *SMALL, "--out", tmp_path / "out")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("defence") and [line.split()[0] for line in lines[1:7]] == ["clean", *command.DEFAULT]
    assert "permutation is no defence" in out and "report.html" in out
    assert (tmp_path / "out" / "report.html").exists()
    assert "embedding texts" in err and "clean, clean: 8 of 8" in err
    assert re.search(r"note: \d+ of \d+ texts are shorter than 5 tokens and left out\n", err)


def test_json_is_one_object_on_standard_output(run, texts, tmp_path) -> None:
    code, out, _ = run(
        "--data",
        texts,
        *SMALL,
        "--defence",
        "drop-text",
        "--others",
        60,
        "--out",
        tmp_path / "o",
        "--device",
        "cpu",
        "--json",
    )
    found = json.loads(out)
    assert code == 0 and [entry["defence"] for entry in found["defences"]] == ["drop-text"]
    assert found["conditions"]["effort"] == "low, steps 3, beam 3"
    assert found["conditions"]["others"] == 60 and found["complete"]


def test_texts_of_a_store_will_do(run, tmp_path) -> None:
    given = list(dict.fromkeys(words(200, seed=4)))
    table = pa.table({"id": list(range(len(given))), "embedding": toy_inverter().embed(given).tolist(), "text": given})
    parquet.write_table(table, tmp_path / "store.parquet")
    code, _, err = run("--data", f"{tmp_path}/store.parquet", *SMALL, "--defence", "int8", "--out", tmp_path / "out")
    assert code == 0, err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--defence", "gausian:1"), "no defence 'gausian'"),
        (("--defence", "gaussian"), "gaussian:SIGMA"),
        (("--defence", "truncate:999"), "24 wide"),
        (("--effort", "vast"), "no effort 'vast'"),
        (("--retrieval", "nowhere"), "there is no folder"),
        (("--pairs", "nowhere.csv"), "there is no file"),
        (("--retrain", "1"), "--retrain trains a checkpoint"),
        (("--data", "nowhere.txt"), "nowhere.txt"),
        (("--defence", "nope"), "module:function"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, texts, tmp_path, words, says) -> None:
    code, out, err = run("--data", texts, *SMALL, "--out", tmp_path / "out", *words)
    assert code == 2 and out == ""
    assert says in err.splitlines()[-1] and err.splitlines()[-1].startswith("error: ")


def test_a_missing_library_is_named_with_its_extra(run, texts, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(command, "LIBRARIES", ("scipy", "no_such_library"))
    code, _, err = run("--data", texts, "--out", tmp_path / "out")
    assert code == 2 and "unembed[defend]" in err and "no_such_library" in err
    assert not (tmp_path / "out").exists()


def test_the_default_folder_is_named_after_the_texts(run, texts, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("--data", texts, *SMALL, "--defence", "drop-text", "--others", 30)[0] == 0
    assert (tmp_path / "defend-words.txt" / "report.json").exists()
