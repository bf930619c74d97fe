"""Finding plugins, and pluggy's three traps."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from unembed.errors import CheckpointError, EmbedderMismatchError, InputError, PluginError, UnknownNameError
from unembed.registry import discovery, opening
from unembed.registry.hooks import hookimpl
from unembed.testing.toy import toy_inverter, words
from unembed.training import train


def module(monkeypatch, name: str, **members) -> EntryPoint:
    made = ModuleType(name)
    for key, value in members.items():
        setattr(made, key, value)
    monkeypatch.setitem(sys.modules, name, made)
    return EntryPoint(name=name, value=name, group="unembed")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A toy checkpoint, made by a training of one step."""
    folder = tmp_path_factory.mktemp("toy")
    config = folder / "toy.toml"
    config.write_text(f'modality = "toy"\noutput = "{folder}/run"\nsteps = 1\n')
    with pytest.MonkeyPatch.context() as patch:
        points = (*discovery.entry_points(group="unembed"), EntryPoint("toy", "unembed.testing.toy", "unembed"))
        patch.setattr(discovery, "entry_points", lambda group: points)
        train(config)
    return folder / "run" / "checkpoint"


def test_load_finds_an_installed_inverter(toy_plugin) -> None:
    assert opening.load("toy", device="cpu").name == "toy"


def test_load_unknown_name_lists_the_known(toy_plugin) -> None:
    names = "clip-tiny, effnet-features, effnet-probs, gtr-base, gtr-base-st, minilm, text-embedding-ada-002, toy"
    with pytest.raises(UnknownNameError, match=f"no inverter 'tpy'; known: {names}"):
        opening.load("tpy")
    with pytest.raises(UnknownNameError, match=r"no embedder 'x:y'; known: .*minilm, ollama, .*st, toy"):
        opening.load_embedder("x:y")
    with pytest.raises(UnknownNameError, match=r"no modality 'smell'; known: image, text, toy"):
        discovery.modality("smell")


def test_a_name_offered_twice_is_an_error_naming_both(toy_plugin, install) -> None:
    twin = EntryPoint(name="twin", value="unembed.testing.toy", group="unembed")
    install(EntryPoint(name="toy", value="unembed.testing.toy", group="unembed"), twin)
    with pytest.raises(PluginError, match=r"'toy' is offered by both .*\(toy\) and .*\(twin\)"):
        opening.load("toy")


def test_a_misspelled_hook_is_an_error(monkeypatch, install) -> None:
    def register_invertors():
        return []

    install(module(monkeypatch, "misspelled", register_invertors=hookimpl(register_invertors)))
    broken = {plugin.name: plugin.error for plugin in discovery.plugins()}["misspelled"]
    assert "register_invertors" in str(broken)


def test_a_plugin_that_fails_at_import_breaks_nothing_else(install) -> None:
    install(EntryPoint(name="broken", value="no_such_module_anywhere", group="unembed"))
    found = {plugin.name: plugin for plugin in discovery.plugins()}
    assert found["text"].error is None and found["text"].inverters
    assert isinstance(found["broken"].error, ModuleNotFoundError)
    with pytest.raises(PluginError, match="no_such_module_anywhere") as caught:
        opening.load("broken")
    assert caught.value.__cause__ is found["broken"].error
    with pytest.raises(UnknownNameError, match="failed to load: broken"):
        opening.load("something-else")


def test_load_a_checkpoint_folder(toy_plugin, checkpoint) -> None:
    inverter = opening.load(str(checkpoint), device="cpu")
    assert inverter.invert(inverter.embed(["cafe"]), steps=1).objects


def test_load_a_folder_that_is_no_checkpoint(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"no readable manifest\.json"):
        opening.load(str(tmp_path))


def edited(checkpoint, folder, **changes):
    import json
    import shutil

    shutil.copytree(checkpoint, folder)
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


def test_load_refuses_another_embedder_by_name(toy_plugin, checkpoint, tmp_path) -> None:
    import json

    embedder = json.loads((checkpoint / "manifest.json").read_text())["embedder"]
    embedder["fingerprint"]["values"][1][3] += 0.1
    with pytest.raises(EmbedderMismatchError, match="trained against 'toy'"):
        opening.load(edited(checkpoint, tmp_path / "c", embedder=embedder))


def test_load_runs_the_self_test_when_asked(toy_plugin, checkpoint, tmp_path) -> None:
    inverter = opening.load(str(checkpoint))
    reached = inverter.invert(inverter.embed(["cafe"]), steps=1, beam=2).similarity.item()
    test = {"object": "cafe", "steps": 1, "beam": 2, "similarity": reached}
    good = opening.load(edited(checkpoint, tmp_path / "good", self_test=test), self_test=True)
    assert good.manifest.training["steps"] == 1
    with pytest.raises(CheckpointError, match="no self-test to run"):
        opening.load(str(checkpoint), self_test=True)
    bad = edited(checkpoint, tmp_path / "bad", self_test=test | {"similarity": reached + 0.1})
    opening.load(bad)
    with pytest.raises(CheckpointError, match="self-test"):
        opening.load(bad, self_test=True)


def test_load_a_device_that_is_not_there() -> None:
    with pytest.raises(InputError, match="'warp'"):
        opening.load("minilm", device="warp")


def test_the_toys_inverter_recovers_most_words() -> None:
    inverter, objects = toy_inverter(), words(50, seed=8)
    assert inverter.exact(objects, inverter.invert(inverter.embed(objects), steps=20)).float().mean() > 0.8
