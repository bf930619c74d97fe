"""Finding plugins, and pluggy's three traps."""

import json
import shutil
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from unembed.errors import CheckpointError, EmbedderMismatchError, InputError, PluginError, UnknownNameError
from unembed.registry import discovery, opening
from unembed.registry.hooks import hookimpl
from unembed.registry.specs import Method
from unembed.testing.toy import LETTERS, ToyEmbedder, toy_inverter, words
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
    config.write_text(f'method = "toy"\noutput = "{folder}/run"\nsteps = 1\n')
    with pytest.MonkeyPatch.context() as patch:
        points = (*discovery.entry_points(group="unembed"), EntryPoint("toy", "unembed.testing.toy", "unembed"))
        patch.setattr(discovery, "entry_points", lambda group: points)
        train(config)
    return folder / "run" / "checkpoint"


def test_load_finds_an_installed_inverter(toy_plugin) -> None:
    assert opening.load("toy", device="cpu").name == "toy"


def test_load_unknown_name_lists_the_known(toy_plugin) -> None:
    names = "clip-tiny, effnet-features, effnet-probs, gtr-base, gtr-base-st, minilm, text-embedding-ada-002, toy"
    with pytest.raises(UnknownNameError, match=f"no inverter 'tpy'; did you mean 'toy'.; known: {names}"):
        opening.load("tpy")
    with pytest.raises(UnknownNameError, match=r"no embedder 'x:y'; known: .*minilm, ollama, .*st, toy"):
        opening.load_embedder("x:y")
    with pytest.raises(UnknownNameError, match=r"no modality 'smell'; known: image, prompt, text, toy"):
        discovery.modality("smell")
    with pytest.raises(
        UnknownNameError, match=r"no method 'smell'; known: adapted, closed, flow, logprobs, toy, vec2text"
    ):
        discovery.method("smell")


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
    found = inverter.invert(inverter.embed(["cafe"]), steps=1)
    assert len(found.objects) == 1 and set(found.objects[0]) <= set(LETTERS)


@pytest.mark.parametrize("given", [3, toy_inverter, [1.0], ToyEmbedder])
def test_what_is_no_embedder_is_refused_in_a_line(given, toy_plugin, checkpoint) -> None:
    with pytest.raises(InputError, match="takes the name of an embedder, or an `Embedder` of its toy signals; got"):
        opening.load(checkpoint, device="cpu", embedder=given)


def test_a_checkpoint_of_other_sizes_is_our_error_whatever_the_plugin_checks(
    toy_plugin, install, checkpoint, tmp_path, monkeypatch
) -> None:
    import torch

    def careless(folder, manifest, device, embedder):
        network = torch.nn.Sequential(torch.nn.Linear(5, 3))
        network.load_state_dict({"0.weight": torch.zeros(4, 5), "0.bias": torch.zeros(3)})

    def wrong(folder, manifest, device, embedder):
        raise RuntimeError("another matter")

    methods = [Method(open.__name__, "toy", "one that checks nothing", open) for open in (careless, wrong)]
    point = module(monkeypatch, "others", register_methods=hookimpl(lambda: methods))
    install(EntryPoint("toy", "unembed.testing.toy", "unembed"), point)
    for method in methods:
        shutil.copytree(checkpoint, tmp_path / method.name)
        manifest = json.loads((checkpoint / "manifest.json").read_text()) | {"method": method.name}
        (tmp_path / method.name / "manifest.json").write_text(json.dumps(manifest))
    told = r"don't fit the network that method 'careless' builds now \(size mismatch for 0.weight: .*train anew"
    with pytest.raises(CheckpointError, match=told) as caught:
        opening.load(tmp_path / "careless", device="cpu")
    assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeError, match="another matter"):
        opening.load(tmp_path / "wrong", device="cpu")


@pytest.mark.parametrize("kind", [str, Path])
def test_load_a_folder_that_is_no_checkpoint(kind, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"no readable manifest\.json"):
        opening.load(kind(tmp_path))


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        (Path("missing"), CheckpointError, "missing isn't an unembed checkpoint: there is no such folder"),
        ("toy/", UnknownNameError, "no inverter 'toy/'; did you mean 'toy'.; known"),
        ("x" * 5000, UnknownNameError, "no inverter 'xxx"),
        ("a\0b", UnknownNameError, "no inverter"),
    ],
)
def test_load_what_isnt_there(name, error, told, toy_plugin) -> None:
    with pytest.raises(error, match=told) as caught:
        opening.load(name, device="cpu")
    assert len(str(caught.value)) < 500


def test_a_manifest_is_read_once(toy_plugin, checkpoint, monkeypatch) -> None:
    from unembed.checkpoints import manifest

    reads = []
    monkeypatch.setattr(manifest.json, "loads", lambda text, loads=manifest.json.loads: reads.append(1) or loads(text))
    opening.load(checkpoint, device="cpu")
    assert len(reads) == 1


def test_fitting_inverters_are_found_by_width_without_loading(toy_plugin) -> None:
    assert [spec.name for spec in discovery.fitting(24)] == ["toy"]
    assert {"gtr-base", "gtr-base-st"} <= {spec.name for spec in discovery.fitting(768)}
    assert all(spec.dimension and spec.embedder for info in discovery.plugins() for spec in info.inverters)


SECOND = """
import unembed
from unembed.testing.toy import ToyRecipe, open_checkpoint

@unembed.hookimpl
def register_methods():
    return [unembed.Method("twin", "toy", "the same again", open_checkpoint, ToyRecipe)]
"""


def test_a_modality_with_two_methods_and_none_of_its_own_asks_which(toy_plugin, install, tmp_path, monkeypatch) -> None:
    assert discovery.method("toy").name == "toy" and discovery.method("text").name == "closed"
    (tmp_path / "second_method.py").write_text(SECOND)
    (tmp_path / "smell.py").write_text(
        SECOND.replace('"twin", "toy"', '"nose", "smell"') + "\n@unembed.hookimpl\n"
        "def register_modalities(): return [unembed.Modality('smell', 'smells')]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    toy = EntryPoint(name="toy", value="unembed.testing.toy", group="unembed")
    install(toy, *(EntryPoint(name=name, value=name, group="unembed") for name in ("second_method", "smell")))
    assert discovery.method("toy").name == "toy" and discovery.method("twin").modality == "toy"
    assert discovery.method("smell").name == "nose"
    (tmp_path / "taste.py").write_text(SECOND.replace('"twin", "toy"', '"tongue", "smell"'))
    install(*(EntryPoint(name=name, value=name, group="unembed") for name in ("smell", "taste")))
    with pytest.raises(UnknownNameError, match=r"modality 'smell' has no method of its own; .*known: nose, tongue"):
        discovery.method("smell")


def test_a_checkpoint_of_before_there_were_methods_opens(toy_plugin, checkpoint, tmp_path) -> None:
    old = edited(checkpoint, tmp_path / "old", method=None, files={})
    data = json.loads((tmp_path / "old" / "manifest.json").read_text())
    assert data.pop("method") is None
    (tmp_path / "old" / "manifest.json").write_text(json.dumps(data))
    manifest = opening.load(old, device="cpu").manifest
    assert (manifest.modality, manifest.method) == ("toy", "toy")


def test_a_checkpoint_without_a_fingerprint_opens(toy_plugin, checkpoint, tmp_path) -> None:
    assert opening.load(edited(checkpoint, tmp_path / "c", embedder={"name": "toy"}), device="cpu").name == "toy"


def test_another_embedder_is_a_name_or_an_embedder(toy_plugin, checkpoint) -> None:
    given = ToyEmbedder()
    inverter = opening.load(checkpoint, device="cpu", embedder=given)
    assert inverter.embedder is given and inverter.manifest.embedder.name == "toy"
    assert opening.load(checkpoint, device="cpu", embedder="toy").embedder.name == "toy"
    given.table = given.table.flip(0)
    with pytest.raises(EmbedderMismatchError, match="returns other embeddings"):
        opening.load(checkpoint, device="cpu", embedder=given)


def edited(checkpoint, folder, **changes):
    shutil.copytree(checkpoint, folder)
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


def test_load_refuses_another_embedder_by_name(toy_plugin, checkpoint, tmp_path) -> None:
    embedder = json.loads((checkpoint / "manifest.json").read_text())["embedder"]
    embedder["fingerprint"]["values"][1][3] += 0.1
    with pytest.raises(EmbedderMismatchError, match="trained on 'toy'"):
        opening.load(edited(checkpoint, tmp_path / "c", embedder=embedder))


def test_load_runs_the_self_test_when_asked(toy_plugin, checkpoint, tmp_path) -> None:
    inverter = opening.load(checkpoint, device="cpu", self_test=True)
    saved = inverter.manifest.self_test
    probe = inverter.codec.probes[saved.probe]
    reached = inverter.invert(inverter.embed([probe]), steps=1, beam=2).similarity.item()
    assert (saved.steps, saved.beam) == (1, 2) and saved.similarity == pytest.approx(reached, abs=1e-4)
    older = {"object": probe, "steps": 1, "beam": 2, "similarity": reached}
    opening.load(edited(checkpoint, tmp_path / "older", self_test=older), device="cpu", self_test=True)
    for name, test, told in (
        ("none", None, "no self-test to run"),
        ("worse", older | {"similarity": reached + 0.1}, "fails its self-test"),
        ("absent", saved.model_dump() | {"probe": 9}, "names probe 9"),
    ):
        folder = edited(checkpoint, tmp_path / name, self_test=test)
        opening.load(folder, device="cpu")
        with pytest.raises(CheckpointError, match=told):
            opening.load(folder, device="cpu", self_test=True)


def test_load_a_device_that_is_not_there() -> None:
    with pytest.raises(InputError, match="'warp'"):
        opening.load("minilm", device="warp")


def test_the_toys_inverter_recovers_most_words() -> None:
    inverter, objects = toy_inverter(), words(50, seed=8)
    assert inverter.exact(objects, inverter.invert(inverter.embed(objects), steps=20)).float().mean() > 0.8
