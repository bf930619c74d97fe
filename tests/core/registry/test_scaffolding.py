"""What `unembed new-plugin` writes works as it is: installed, listed, trained, inverting, its own tests passing."""

import json
import sys

import pytest

from unembed import cli
from unembed.errors import InputError, MissingExtraError
from unembed.registry.scaffolding import write_plugin

# Runs commands in one process: each new one would take seconds to import torch.
COMMANDS = """
import json, sys
from unembed import cli

for words in json.loads(sys.argv[1]):
    code = cli._run(words)
    assert code == 0, words
"""


@pytest.mark.slow
@pytest.mark.parametrize("signals", ["discrete", "continuous"])
def test_a_new_plugin_works_as_generated(signals, environment, tmp_path) -> None:
    folder = write_plugin("my_signal", tmp_path / "made", signals=signals)
    environment.install(folder)
    new = "import numpy, unembed_my_signal.data as d; numpy.save('new.npy', numpy.array(d.held_out(40)))"
    environment.run("-c", new, cwd=folder)
    checkpoint = "runs/my_signal/checkpoint"
    inputs = ["314159", "271828"] if signals == "discrete" else ["new.npy"]
    (folder / "new.txt").write_text("314159\n271828\n141421\n")
    data = "new.txt" if signals == "discrete" else "new.npy"
    commands = [
        ["plugins", "--json"],
        ["train", "train.toml"],
        ["evaluate", "--data", data, "--inverter", checkpoint, "--effort", "low", "--json"],
        ["new-plugin", "another"],
    ]
    if signals == "discrete":
        commands.append(["invert", *inputs, "--inverter", checkpoint, "--json"])
    out = environment.run("-c", COMMANDS, json.dumps(commands), cwd=folder)
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    (found,) = (row for row in rows if row.get("name") == "my_signal")
    assert found["error"] is None and found["package"] == "unembed_my_signal"
    (measured,) = (row for row in rows if "ci" in row)
    assert measured["similarity"] > 0.9
    assert [row["similarity"] > 0.9 for row in rows if "reconstruction" in row] == [True] * (signals == "discrete") * 2
    logged = [json.loads(line) for line in (folder / "runs/my_signal/log.jsonl").read_text().splitlines()]
    last = [row for row in logged if "held-out/similarity@0" in row][-1]
    assert last["held-out/similarity@1"] > last["held-out/similarity@0"] and logged[-1]["step"] == 1500
    assert " passed" in environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)


@pytest.mark.parametrize("name", ["Wave", "two words", "3d", "class", ""])
def test_a_name_that_no_module_can_have_is_refused(name, tmp_path) -> None:
    with pytest.raises(InputError, match="lower-case letters"):
        write_plugin(name, tmp_path / "made")


def test_the_name_of_an_installed_plugin_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="'text' is installed already, by unembed"):
        write_plugin("text", tmp_path / "made")


def test_a_folder_in_use_is_refused(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unembed_wave").mkdir()
    (tmp_path / "unembed_wave" / "mine").touch()
    assert cli._run(["new-plugin", "wave"]) == 2
    assert "unembed_wave exists and isn't an empty folder; name another with --out" in capsys.readouterr().err
    assert cli._run(["new-plugin", "wave", "--out", "other"]) == 0
    assert "cd other" in capsys.readouterr().out and (tmp_path / "other" / "pyproject.toml").is_file()


@pytest.mark.parametrize("out", ["a_file", "a_file/under", "dangling", "x" * 300])
def test_a_folder_that_cant_be_is_refused(out, tmp_path) -> None:
    (tmp_path / "a_file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="name another with --out"):
        write_plugin("wave", tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_file", "dangling"]


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "copier", None)
    with pytest.raises(MissingExtraError, match=r"unembed\[kit\]"):
        write_plugin("wave", tmp_path / "made")
