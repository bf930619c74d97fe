"""The contract, on the shipped inverter, on the plugin and on its training."""

import json
import shutil
from pathlib import Path

import pytest
from unembed_molecules.plugin import WEIGHTS

import unembed
from unembed.testing import check_plugin, training_checks

HELD_OUT = Path(__file__).parents[1] / "held_out.txt"
SMALL = Path(__file__).with_name("small.toml")


@training_checks(SMALL)
def test_training_conforms(check, monkeypatch) -> None:
    monkeypatch.chdir(HELD_OUT.parent)
    check()


def test_the_plugin_and_its_inverters_conform() -> None:
    found = check_plugin("molecules")
    assert list(found) == ["plugin molecules", "inverter morgan", "inverter morgan-counts"]
    for subject, outcomes in found.items():
        assert not [outcome for outcome in outcomes if outcome.status in ("failed", "blocked")], subject
    assert {outcome.status for outcome in found["plugin molecules"]} == {"passed"}


@pytest.mark.parametrize("name", ["morgan", "morgan-counts"])
def test_the_shipped_weights_pass_their_self_test(name) -> None:
    unembed.load(name, device="cpu", self_test=True)


def test_another_fingerprint_is_refused(tmp_path) -> None:
    """Bits and counts agree in nearly every place; the checkpoint tells them apart all the same."""
    folder = shutil.copytree(WEIGHTS / "morgan", tmp_path / "morgan")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["embedder"]["name"] = "morgan:counts"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(unembed.EmbedderMismatchError, match="morgan:counts"):
        unembed.load(str(folder))
