"""What the plugin offers, and that offering costs nothing."""

import subprocess
import sys

from unembed.checkpoints.manifest import read_manifest
from unembed.registry import discovery, opening
from unembed.testing import inverter_checks
from unembed_text import plugin


def test_plugin_is_found_by_its_entry_point() -> None:
    found = {info.name: info for info in discovery.plugins()}["text"]
    assert found.error is None
    assert [spec.name for spec in found.inverters] == ["minilm", "gtr-base", "gtr-base-st", "text-embedding-ada-002"]
    local, services, servers = ["st", "hf", "onnx"], ["openai", "cohere", "voyage", "gemini"], ["http", "https"]
    named = ["gtr-base", "gtr-base-st"]
    assert [spec.name for spec in found.embedders] == ["minilm", *local, *services, "ollama", *servers, *named]
    assert [spec.name for spec in found.modalities] == ["text"]
    assert [spec.name for spec in found.methods] == ["closed", "vec2text"]
    assert [spec.name for spec in found.commands] == ["import-vec2text"]


def test_plugin_import_loads_no_model_library() -> None:
    code = "import sys, unembed_text.plugin; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


TEXTS = ["hello there", "a rather longer text, with commas", "what time is it?", "tea"]


@inverter_checks(lambda: opening.load(str(_checkpoint[0]), device="cpu"), TEXTS)
def test_an_untrained_inverter_conforms(check, small_checkpoint) -> None:
    _checkpoint[:] = [small_checkpoint]
    check()


_checkpoint: list = []


def test_a_saved_network_opens_as_it_was(small_checkpoint, embedder) -> None:
    manifest = read_manifest(small_checkpoint)
    assert manifest.embedder.name == "minilm"
    inverter = opening.load(str(small_checkpoint), device="cpu")
    guesses = inverter.hypothesizer.hypothesize(inverter.embed(TEXTS), 2)
    assert guesses.shape == (4, 2, 254) and (guesses != 0).sum(-1).max() <= 12


def test_bundled_weights_are_small_and_pass_their_self_test() -> None:
    folder = plugin.WEIGHTS / "minilm"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 100_000_000
    opening.load(str(folder), device="cpu", self_test=True)
