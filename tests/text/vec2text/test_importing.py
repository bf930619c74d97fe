"""A published pair comes in whatever its age and file format, or with one clear error."""

import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

from unembed import load
from unembed.checkpoints.tensors import load_checkpoint
from unembed.cli import _run
from unembed.errors import CheckpointError, EmbedderMismatchError, InputError
from unembed_text.methods.vec2text.importing import import_pair
from unembed_text.methods.vec2text.migrations import migrated

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def bring(folder, out, **options) -> None:
    import_pair(str(folder / "inversion"), str(folder / "corrector"), out, device=CPU, **options)


@pytest.mark.parametrize(("gated", "tied"), [(False, True), (True, False)])
def test_the_networks_are_t5_as_transformers_has_it(gated, tied, publish, t5_encoder, tmp_path) -> None:
    folder = publish(gated=gated, tied=tied)
    bring(folder, tmp_path / "out", embedder=str(t5_encoder))
    network = load(str(tmp_path / "out"), device="cpu").hypothesizer.network
    state = load_file(folder / "inversion" / "model.safetensors")
    t5 = T5ForConditionalGeneration(T5Config(**network.config))
    t5.config.tie_word_embeddings = t5.config.scale_decoder_outputs = tied
    own = {key.removeprefix("encoder_decoder."): x for key, x in state.items() if key.startswith("encoder_decoder.")}
    t5.lm_head.weight = torch.nn.Parameter(own.pop("lm_head.weight", own["shared.weight"]).clone())
    t5.load_state_dict(own, strict=False)
    target, signals = torch.randn(3, 24), torch.randint(3, network.vocabulary, (3, 6))
    hidden = target @ state["embedding_transform.0.weight"].T + state["embedding_transform.0.bias"]
    inputs = torch.nn.functional.gelu(hidden) @ state["embedding_transform.3.weight"].T
    inputs = (inputs + state["embedding_transform.3.bias"]).reshape(3, 2, 32)
    with torch.no_grad():
        start = torch.cat([torch.zeros(3, 1, dtype=torch.long), signals], 1)
        wanted = t5.eval()(inputs_embeds=inputs, decoder_input_ids=start).logits
        found = network.decoder.lm_head(network.decoder.read(*network.encode(target, None, None), signals))
    assert torch.allclose(found, wanted, atol=1e-4)


def old_names(state: dict) -> dict:
    """The same tensors as the oldest checkpoints name them, with every alias that a pickle repeats."""
    renamed = {f"module.{key.replace('.3.', '.2.') if 'transform' in key else key}": x for key, x in state.items()}
    shared = state["encoder_decoder.shared.weight"]
    for alias in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        renamed[f"module.encoder_decoder.{alias}.weight"] = shared
    unused = "module.encoder_decoder.decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    return {**renamed, unused: torch.zeros(32, 4)}


def test_an_old_pickle_gives_the_same_checkpoint(publish, t5_encoder, tmp_path) -> None:
    folder = publish()
    bring(folder, tmp_path / "new", embedder=str(t5_encoder))
    for half in ("inversion", "corrector"):
        file = folder / half / "model.safetensors"
        torch.save(old_names(load_file(file)), folder / half / "pytorch_model.bin")
        file.unlink()
        # What vec2text pickles beside its weights would run code when opened.
        (folder / half / "training_args.bin").write_bytes(pickle.dumps(Trap(), protocol=2))
    bring(folder, tmp_path / "old", embedder=str(t5_encoder))
    (_, new), (_, old) = load_checkpoint(tmp_path / "new"), load_checkpoint(tmp_path / "old")
    assert new.keys() == old.keys() and all(torch.equal(new[key], old[key]) for key in new)
    assert not (tmp_path / "sprung").exists()


class Trap:
    def __reduce__(self):
        return os.system, ("touch sprung",)


def test_a_pickle_of_more_than_tensors_is_refused(publish, t5_encoder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = publish()
    (folder / "inversion" / "model.safetensors").unlink()
    (folder / "inversion" / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(CheckpointError, match="damaged, or holds more than tensors"):
        bring(folder, tmp_path / "out", embedder=str(t5_encoder))
    assert not (tmp_path / "sprung").exists()


def test_sharded_weights_are_put_together(publish, t5_encoder, tmp_path) -> None:
    folder = publish()
    bring(folder, tmp_path / "whole", embedder=str(t5_encoder))
    state = load_file(folder / "corrector" / "model.safetensors")
    (folder / "corrector" / "model.safetensors").unlink()
    places = {key: f"part-{index % 2}.safetensors" for index, key in enumerate(state)}
    for file in set(places.values()):
        save_file({key: state[key] for key in state if places[key] == file}, folder / "corrector" / file)
    index = folder / "corrector" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    bring(folder, tmp_path / "parts", embedder=str(t5_encoder))
    (_, a), (_, b) = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "parts")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_what_is_wrong_is_said(publish, t5_encoder, tmp_path) -> None:
    folder = publish()
    inversion, corrector, out = str(folder / "inversion"), str(folder / "corrector"), tmp_path / "out"
    with pytest.raises(CheckpointError, match="is it the corrector"):
        import_pair(corrector, inversion, out, embedder=str(t5_encoder), device=CPU)
    with pytest.raises(InputError, match="neither a folder here nor a hub id"):
        import_pair(str(folder / "nowhere"), corrector, out, embedder=str(t5_encoder), device=CPU)
    with pytest.raises(InputError, match="names the embedder 'mystery'"):
        bring(publish(embedder_model_name="mystery"), out, embedder=str(t5_encoder))
    with pytest.raises(CheckpointError, match="embedding_transform_strategy is 'nearest_neighbors'"):
        bring(publish(embedding_transform_strategy="nearest_neighbors"), out, embedder=str(t5_encoder))
    with pytest.raises(CheckpointError, match=r"tensor 'strange\.weight'"):
        migrated({"strange.weight": torch.zeros(2)})
    with pytest.raises(InputError, match="384 wide"):
        bring(folder, out, embedder="minilm")
    assert not out.exists()


def config(**changes):
    def change(folder) -> None:
        path = folder / "corrector" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def tensor(name: str, value: torch.Tensor):
    def change(folder) -> None:
        path = folder / "inversion" / "model.safetensors"
        save_file({**load_file(path), name: value}, path)

    return change


def index(text: str):
    def change(folder) -> None:
        (folder / "inversion" / "model.safetensors").unlink()
        (folder / "inversion" / "model.safetensors.index.json").write_text(text)

    return change


ODD = [
    (config(max_seq_length=0), "max_seq_length is '0'"),
    (config(max_seq_length="many"), "max_seq_length is 'many'"),
    (
        tensor("encoder_decoder.shared.weight", torch.ones(3)),
        "'decoder.token_embed.weight' has shape .3. and should be a matrix",
    ),
    (tensor("embedding_transform.0.weight", torch.full((24, 24), torch.nan)), "holds NaN or infinity"),
    (tensor("embedding_transform.3.bias", torch.ones(3)), "its manifest and its tensors disagree: .*bias"),
    (index("{}"), "no weight_map"),
    (index('{"weight_map": {"a": "../x.safetensors"}}'), "isn't in its folder"),
]


@pytest.mark.parametrize(("change", "told"), ODD)
def test_what_is_odd_in_a_published_pair_is_refused_in_one_line(change, told, publish, t5_encoder, tmp_path) -> None:
    change(folder := publish())
    with pytest.raises(CheckpointError, match=told) as caught:
        bring(folder, tmp_path / "out", embedder=str(t5_encoder))
    assert len(str(caught.value)) < 400 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["folder", "file", "link", "inversion"])
def test_an_import_replaces_nothing_but_a_checkpoint(kind, publish, t5_encoder, tmp_path) -> None:
    folder, out = publish(), tmp_path / "mine"
    if kind == "inversion":
        out = folder / "inversion"
    elif kind == "file":
        out.write_text("mine")
    else:
        (there := tmp_path / "there").mkdir()
        (there / "notes.txt").write_text("mine")
        out.symlink_to(there) if kind == "link" else there.rename(out)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="it isn't replaced: name a new or an empty folder"):
        bring(folder, out, embedder=str(t5_encoder))
    assert sorted(tmp_path.rglob("*")) == before and (folder / "inversion" / "config.json").is_file()


def test_a_pair_of_before_there_were_methods_opens(random_pair, tmp_path) -> None:
    folder = shutil.copytree(random_pair, tmp_path / "old")
    data = json.loads((folder / "manifest.json").read_text())
    assert (data.pop("method"), data["modality"]) == ("vec2text", "text") and "tokenizer/tokenizer.json" in data.pop(
        "files"
    )
    (folder / "manifest.json").write_text(json.dumps(data | {"modality": "vec2text"}))
    manifest = load(folder, device="cpu").manifest
    assert (manifest.modality, manifest.method) == ("text", "vec2text")


def test_another_embedder_than_the_one_trained_against_is_caught(publish, random_pair, t5_encoder, tmp_path) -> None:
    """By the weights that an inversion model carries when it is imported, by the fingerprint afterwards."""
    other = tmp_path / "other"
    other.mkdir()
    for file in t5_encoder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    state = load_file(t5_encoder / "model.safetensors")
    save_file({key: x + 0.1 * torch.randn(x.shape) for key, x in state.items()}, other / "model.safetensors")
    with pytest.raises(InputError, match="trained against another embedder"):
        bring(publish(), tmp_path / "out", embedder=str(other))
    load(str(random_pair), device="cpu", embedder=f"hf:{t5_encoder}?max_tokens=32")
    for wrong in (f"hf:{other}?max_tokens=32", f"hf:{t5_encoder}?normalize=true", f"hf:{t5_encoder}?pooling=cls"):
        with pytest.raises(EmbedderMismatchError):
            load(str(random_pair), device="cpu", embedder=wrong)


def test_the_command_imports_and_the_others_take_it_from_there(publish, t5_encoder, tmp_path, capsys) -> None:
    folder, out = publish(), tmp_path / "mine"
    words = ["--inversion", str(folder / "inversion"), "--corrector", str(folder / "corrector")]
    assert _run(["import-vec2text", *words, "--embedder", str(t5_encoder), "--device", "cpu", str(out)]) == 0
    assert "imported to" in capsys.readouterr().err
    assert _run(["invert", "hello there", "--inverter", str(out), "--steps", "1", "--beam", "2", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["input"] == "hello there" and -1 <= row["similarity"] <= 1 and row["queries"] > 0


@pytest.mark.slow
def test_without_a_network_a_published_name_says_what_to_fetch(forking, tmp_path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "UNEMBED_CACHE": str(tmp_path)}
    code = "from unembed.cli import main; main()"
    found = forking.run("-c", code, "invert", "x", "--inverter", "gtr-base", env=environment)
    assert found.returncode == 2 and len(found.stderr.splitlines()) == 1
    for part in ("jxm/gtr__nq__32", "jxm/gtr__nq__32__correct", "import-vec2text", "--embedder DIR"):
        assert part in found.stderr
    assert "can't be reached" in found.stderr or "name a folder with its config.json" in found.stderr
