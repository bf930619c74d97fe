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
import numpy
from unembed import cli
from unembed_windows import data

numpy.save("windows.npy", data.held_out(40).numpy())
for words in json.loads(sys.argv[1]):
    code = cli._run(words)
    assert code == 0, words
"""
SHORT = {"steps": 96, "guess_steps": 32, "evaluate_every": 96, "save_every": 96}


@pytest.mark.slow
def test_new_plugins_work_as_generated(environment, tmp_path) -> None:
    digits = write_plugin("digits", tmp_path / "digits")
    windows = write_plugin("windows", tmp_path / "windows", signals="continuous")
    environment.install(digits)
    environment.borrow(windows, "unembed_windows", {"windows": "unembed_windows.plugin"})
    (tmp_path / "digits.txt").write_text("314159\n271828\n141421\n")
    options = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]
    commands = [["plugins", "--json"]]
    for name in ("digits", "windows"):
        commands.append(["train", f"{name}/train.toml", *options])
    search = ["--effort", "low", "--json"]
    commands += [
        ["evaluate", "--data", "digits.txt", "--inverter", "runs/digits/checkpoint", *search],
        ["invert", "314159", "271828", "--inverter", "runs/digits/checkpoint", *search],
        ["evaluate", "--data", "windows.npy", "--inverter", "runs/windows/checkpoint", *search],
    ]
    out = environment.run("-c", COMMANDS, json.dumps(commands), cwd=tmp_path)
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    found = {row["name"]: row for row in rows if "package" in row}
    for name in ("digits", "windows"):
        assert found[name]["error"] is None and found[name]["package"] == f"unembed_{name}"
        logged = [json.loads(line) for line in (tmp_path / f"runs/{name}/log.jsonl").read_text().splitlines()]
        assert logged[-1]["step"] == 96 and [row for row in logged if "held-out/similarity@1" in row]
    letters, waves = (row for row in rows if "ci" in row)
    assert letters["similarity"] > 0.5 and letters["symbol_accuracy"] > 0.2
    assert waves["similarity"] > 0.7 and waves["relative_error"] < 1
    assert sum("reconstruction" in row for row in rows) == 2
    tests = [digits / "tests", windows / "tests"]
    assert " passed" in environment.run("-m", "pytest", "-p", "no:cacheprovider", *tests, cwd=tmp_path)


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
