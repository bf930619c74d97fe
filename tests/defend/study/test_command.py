"""`unembed study`, typed; and what the text plugin's network says of a text."""

import json

import pytest

from unembed import cli
from unembed.testing.toy import words


@pytest.fixture
def run(toy_plugin, capsys, tmp_path):
    """`run("--lengths", …)` gives the exit code, standard output and standard error."""
    path = tmp_path / "words.txt"
    path.write_text("\n".join(dict.fromkeys(words(900, seed=3))) + "\n")

    def call(*arguments):
        given = ["study", "--inverter", "toy", "--data", path, "--out", tmp_path / "out", *arguments]
        code = cli._run([str(word) for word in given])
        out, err = capsys.readouterr()
        return code, out, err

    return call


SMALL = ("--lengths", "3,5", "--widths", "24,12", "--samples", 2, "--others", 100, "--edits", 20)


def test_a_table_is_printed_and_a_report_written(run, tmp_path) -> None:
    code, out, err = run(*SMALL)
    assert code == 0, err
    assert out.splitlines()[0].split()[:3] == ["tokens", "width", "way"] and "Length, at full width" in out
    assert "confounded" in out and (tmp_path / "out" / "report.html").exists()
    assert "comparing with near edits: 4 of 4" in err


def test_json_is_one_object_and_a_part_says_that_it_isnt_all(run) -> None:
    code, out, err = run(*SMALL, "--minutes", 0.0000001, "--json")
    assert code == 0 and not json.loads(out)["complete"]
    assert "give the same command again" in err
    code, out, err = run(*SMALL, "--json")
    found = json.loads(out)
    assert code == 0 and found["complete"] and found["conditions"]["effort"] == "low, steps 3, beam 3"
    assert "give the same command again" not in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--lengths", "3,x"), "whole numbers above 0"),
        (("--lengths", "9"), "reads 8 tokens"),
        (("--widths", "500"), "from 2 to 24"),
        (("--effort", "vast"), "no effort 'vast'"),
        (("--data", "nowhere.txt"), "nowhere.txt"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, words, says) -> None:
    code, out, err = run(*SMALL, *words)
    assert code == 2 and out == ""
    assert says in err.splitlines()[-1] and err.splitlines()[-1].startswith("error: ")
