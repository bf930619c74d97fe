"""The contract, on an inverter of a trained toy; that steps help; that damaged checkpoints are refused."""

import json
import shutil

import pytest
import torch

import unembed
from unembed.checkpoints.files import verify
from unembed.checkpoints.manifest import read_manifest
from unembed.costs.forecast import forecast
from unembed.engine.moves import Combine, Correct
from unembed.registry import discovery
from unembed.registry.opening import build
from unembed.testing import check_inverter
from unembed.testing.checks import PLUGIN
from unembed.testing.suite import Suite
from unembed_image import plugin
from unembed_image.embedders.models import efficientnet_lite0
from unembed_image.methods.flow.checkpoint import build_inverter
from unembed_image.networks.network import ImageNetwork

from .conftest import pictures

UNSEEN = pictures(24, seed=9)


@pytest.mark.slow
def test_the_trained_inverter_conforms(trained) -> None:
    check_inverter(unembed.load(str(trained), device="cpu"), UNSEEN[:2])


@pytest.mark.slow
def test_cosine_rises_with_training_and_with_steps(trained) -> None:
    inverter = unembed.load(str(trained), device="cpu")
    vectors = inverter.embed(UNSEEN[:8])
    torch.manual_seed(0)
    network = ImageNetwork(**inverter.manifest.config).eval()
    untrained = build_inverter("untrained", network, inverter.embedder).invert(vectors, steps=0, beam=4)
    found = inverter.invert(vectors, steps=4, beam=4, trace=True)
    reached = [found.trace[step].similarity.mean() for step in (0, 1, -1)]
    assert untrained.similarity.mean() + 0.1 < reached[0] < reached[1] < reached[2]


@pytest.mark.slow
def test_candidates_differ(trained) -> None:
    inverter = unembed.load(str(trained), device="cpu")
    made = inverter.hypothesizer.hypothesize(inverter.embed(UNSEEN[:2]), 4, torch.Generator().manual_seed(0))
    assert all(len(torch.unique(row, dim=0)) == 4 for row in made)


@pytest.mark.usefixtures("small_classifier")
def test_an_inverter_of_probabilities_conforms() -> None:
    """Untrained: the contract asks for no quality."""
    box = efficientnet_lite0("probs", torch.device("cpu"))
    torch.manual_seed(0)
    network = ImageNetwork(dimension=box.dimension, size=16, width=64, depth=1, channels=8, space="log")
    inverter = build_inverter("untrained", network.eval(), box, "efficientnet-lite0")
    ranks = {f"{look}_top{top}" for look in ("retrieval", "independent") for top in (1, 10)}
    assert {"ssim", "psnr", "kl", "agreement_top1", "agreement_top5"} | ranks == set(inverter.metrics)
    check_inverter(inverter, inverter.codec.probes[:2])
    # 32 guesses; 20 times 8 corrections, 64 edits and two times 8 sums; what is returned.
    assert forecast(inverter, 1, tokens=0, effort=inverter.settings("high"))["queries"] == 32 + 20 * (8 + 64 + 16) + 1
    assert Combine(count=32, oversample=1) in inverter.settings("medium").moves
    box.normalized = True  # as CLIP's
    assert build_inverter("untrained", network, box).settings("medium").moves == (Correct(count=4),)


@pytest.mark.slow
def test_a_bundled_inverter_is_found_by_name(trained, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(plugin, "WEIGHTS", tmp_path)
    shutil.copytree(trained, tmp_path / "effnet-probs")
    specs = {spec.name: spec for spec in plugin.register_inverters()}
    assert list(specs) == list(plugin.BUNDLED) and specs["effnet-probs"].checkpoint() == tmp_path / "effnet-probs"
    inverter = build(specs["effnet-probs"], torch.device("cpu"))
    vectors = inverter.embed(UNSEEN[:2])
    known = unembed.load(str(trained), device="cpu")
    a, b = (found.invert(vectors, steps=1, beam=2).similarity for found in (inverter, known))
    assert torch.equal(a, b)


@pytest.mark.slow
def test_edits_climb_further(trained) -> None:
    inverter = unembed.load(str(trained), device="cpu")
    vectors = inverter.embed(UNSEEN[:3])
    edited = inverter.invert(vectors, effort="high", steps=4)
    inverter.editor = None
    corrected = inverter.invert(vectors, effort="high", steps=4)  # from the same guesses
    assert edited.similarity.mean() > corrected.similarity.mean()


@pytest.mark.parametrize("name", plugin.BUNDLED)
def test_bundled_weights_have_checksums_and_a_self_test(name) -> None:
    folder = plugin.WEIGHTS / name
    manifest = read_manifest(folder)
    verify(folder, manifest.files)
    assert set(manifest.files) == {path.name for path in folder.glob("*.safetensors")}
    assert manifest.self_test is not None and manifest.self_test.similarity > 0.4
    _, embedder, dimension = plugin.BUNDLED[name]
    assert (manifest.embedder.name, manifest.embedder.dimension) == (embedder, dimension)


@pytest.mark.slow
@pytest.mark.parametrize("name", plugin.BUNDLED)
def test_bundled_weights_pass_their_self_test(name) -> None:
    unembed.load(name, device="cpu", self_test=True)


def test_the_plugin_conforms() -> None:
    Suite(PLUGIN, lambda: (discovery.plugin("image"),)).require(None)


@pytest.mark.slow
def test_a_manifest_of_another_network_is_refused(trained, tmp_path) -> None:
    folder = shutil.copytree(trained, tmp_path / "checkpoint")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["config"]["width"] = 128
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(unembed.CheckpointError, match="manifest and its tensors disagree"):
        unembed.load(str(folder), device="cpu")
