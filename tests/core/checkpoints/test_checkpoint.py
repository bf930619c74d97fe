"""Checkpoints: what goes in comes out, and every fault is named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unembed.checkpoints import tensors as checkpoint
from unembed.checkpoints.manifest import Manifest, read_manifest
from unembed.checkpoints.tensors import load_checkpoint, save_checkpoint
from unembed.errors import CheckpointError

MANIFEST = Manifest(modality="toy", name="x", config={"a": 1}, embedder={"name": "toy"})
TENSORS = {
    "big": torch.randn(300, 40, generator=torch.Generator().manual_seed(0)),
    "vector": torch.linspace(-1, 1, 7),
    "scalar": torch.tensor(3.0),
    "ids": torch.arange(5),
}


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path / "c", TENSORS, MANIFEST, storage="int8", shard_bytes=4_000)
    return tmp_path / "c"


@pytest.mark.parametrize(("storage", "error"), [("float32", 0.0), ("float16", 2e-3), ("int8", 2e-2)])
def test_save_then_load_gives_the_same(tmp_path, storage, error) -> None:
    save_checkpoint(tmp_path / "c", TENSORS, MANIFEST, storage=storage, shard_bytes=4_000)
    manifest, loaded = load_checkpoint(tmp_path / "c")
    assert manifest.config == {"a": 1}
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].shape == tensor.shape
        assert (loaded[name] - tensor).abs().max() <= error
    assert torch.equal(loaded["ids"], TENSORS["ids"])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists what a process maps")
def test_small_tensors_keep_no_file_in_memory(tmp_path) -> None:
    large = torch.randn(600, 600)
    save_checkpoint(tmp_path / "c", {"large": large, "small": torch.ones(3)}, MANIFEST, storage="float32")
    _, loaded = load_checkpoint(tmp_path / "c")
    mapped = f"{tmp_path}/c/model-"
    assert mapped in Path("/proc/self/maps").read_text()
    del loaded["large"]
    assert torch.equal(loaded["small"], torch.ones(3)) and mapped not in Path("/proc/self/maps").read_text()


def test_int8_error_is_at_most_half_a_rows_step(folder) -> None:
    _, loaded = load_checkpoint(folder)
    big = TENSORS["big"]
    assert ((loaded["big"] - big).abs() <= big.abs().amax(1, keepdim=True) / 254 + 1e-6).all()


def test_shards_are_small(folder) -> None:
    sizes = [sum(t.nbytes for t in load_file(path).values()) for path in folder.glob("*.safetensors")]
    assert len(sizes) > 2 and max(sizes) <= 4_000


def test_save_replaces_the_whole_folder(folder) -> None:
    save_checkpoint(folder, {"only": torch.ones(2)}, MANIFEST)
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "model-00001.safetensors"]
    assert [p.name for p in folder.parent.iterdir()] == ["c"]


@pytest.mark.parametrize("moment", ["save_file", "replace"])
def test_save_killed_leaves_the_old_one_loadable(folder, monkeypatch, moment) -> None:
    def die(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint if moment == "save_file" else checkpoint.os, moment, die)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, {"only": torch.ones(2)}, MANIFEST)
    monkeypatch.undo()
    _, loaded = load_checkpoint(folder)
    assert loaded.keys() == TENSORS.keys()


def test_save_killed_between_its_renames_leaves_the_old_one_beside(folder, monkeypatch) -> None:
    rename, calls = checkpoint.os.replace, []

    def die_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(*args)

    monkeypatch.setattr(checkpoint.os, "replace", die_second)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, {"only": torch.ones(2)}, MANIFEST)
    assert load_checkpoint(folder.with_name(".c.old"))[1].keys() == TENSORS.keys()


def change(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def entries(folder):
    return json.loads((folder / "manifest.json").read_text())["tensors"]


def test_load_without_a_manifest(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"no readable manifest\.json"):
        read_manifest(tmp_path)


def test_load_broken_json(folder) -> None:
    (folder / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match="isn't valid JSON"):
        load_checkpoint(folder)


@pytest.mark.parametrize(("values", "message"), [({"format": 9}, "format 9"), ({"extra": 1}, "extra")])
def test_load_an_unknown_format_or_key(folder, values, message) -> None:
    change(folder, **values)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_load_a_missing_shard(folder) -> None:
    (folder / "model-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks model-00002\.safetensors"):
        load_checkpoint(folder)


def test_load_a_damaged_shard(folder) -> None:
    path = folder / "model-00001.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match=r"model-00001\.safetensors is damaged"):
        load_checkpoint(folder)


def test_load_a_tensor_that_no_file_has(folder) -> None:
    change(folder, tensors=entries(folder) | {"ghost": entries(folder)["vector"]})
    with pytest.raises(CheckpointError, match="lacks tensor 'ghost'"):
        load_checkpoint(folder)


def test_load_a_tensor_that_the_manifest_lacks(folder) -> None:
    kept = entries(folder)
    kept.pop("vector")
    change(folder, tensors=kept)
    with pytest.raises(CheckpointError, match="holds tensor 'vector'"):
        load_checkpoint(folder)


@pytest.mark.parametrize("shape", [[7, 1, 2], [40, 300]])
def test_load_a_shape_that_disagrees(folder, shape) -> None:
    found = entries(folder)
    found["big" if len(shape) == 2 else "vector"]["shape"] = shape
    change(folder, tensors=found)
    with pytest.raises(CheckpointError, match="has shape"):
        load_checkpoint(folder)


def test_load_a_type_that_disagrees(folder) -> None:
    path = folder / entries(folder)["vector"]["files"][0]
    content = load_file(path)
    content["vector"] = content["vector"].double()
    save_file(content, path)
    with pytest.raises(CheckpointError, match=r"'vector' is torch\.float64; the manifest says float32"):
        load_checkpoint(folder)
