"""What `unembed new-plugin` writes works as it is: installed, listed, trained, inverting, its own tests passing."""

import json
import sys

import pytest

from unembed import cli
from unembed.errors import InputError, MissingExtraError
from unembed.registry.scaffolding import write_plugin


@pytest.mark.slow
def test_a_new_plugin_works_as_generated(environment, tmp_path) -> None:
    folder = write_plugin("two_words", tmp_path / "made")
    environment.install(folder)
    rows = [json.loads(line) for line in environment.unembed("plugins", "--json").splitlines()]
    (found,) = (row for row in rows if row["name"] == "two_words")
    assert found["error"] is None and found["package"] == "unembed_two_words"
    environment.unembed("train", "train.toml", cwd=folder)
    logged = [json.loads(line) for line in (folder / "runs/two_words/log.jsonl").read_text().splitlines()]
    last = [row for row in logged if "digits/exact@0" in row][-1]
    assert last["digits/exact@1"] > last["digits/exact@0"] and logged[-1]["step"] == 1500
    checkpoint = "runs/two_words/checkpoint"
    out = environment.unembed("invert", "314159", "271828", "--inverter", checkpoint, "--json", cwd=folder)
    found = [json.loads(line)["similarity"] for line in out.splitlines()]
    assert len(found) == 2 and min(found) > 0.9
    assert "0 failed" in environment.unembed("check", "two_words", "--config", "train.toml", cwd=folder)
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
