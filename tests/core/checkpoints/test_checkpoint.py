"""Checkpoints: what goes in comes out, and every fault is named."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unembed.checkpoints import files, tensors
from unembed.checkpoints.manifest import Manifest, read_manifest, write_manifest
from unembed.checkpoints.migrations import migrated
from unembed.checkpoints.tensors import check_fit, load_checkpoint, save_checkpoint
from unembed.errors import CheckpointError, InputError

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

    monkeypatch.setattr(tensors if moment == "save_file" else files.os, moment, die)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, {"only": torch.ones(2)}, MANIFEST)
    monkeypatch.undo()
    assert load_checkpoint(folder)[1].keys() == TENSORS.keys()
    assert [path.name for path in folder.parent.iterdir()] == ["c"]


def test_save_interrupted_between_its_renames_puts_the_old_one_back(folder, monkeypatch) -> None:
    rename, calls = files.os.replace, []

    def die_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(*args)

    monkeypatch.setattr(files.os, "replace", die_second)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, {"only": torch.ones(2)}, MANIFEST)
    assert load_checkpoint(folder)[1].keys() == TENSORS.keys()


def test_save_killed_between_its_renames_leaves_the_old_one_beside_and_the_next_save_ends_it(folder) -> None:
    folder.rename(old := folder.with_name(".c.old"))
    assert load_checkpoint(old)[1].keys() == TENSORS.keys()
    save_checkpoint(folder, {"only": torch.ones(2)}, MANIFEST)
    assert [path.name for path in folder.parent.iterdir()] == ["c"]


def stray(folder: Path) -> Path:
    (folder / "holiday.jpg").write_bytes(b"mine")
    return folder / "holiday.jpg"


def beside(folder: Path) -> Path:
    shutil.copytree(folder, old := folder.with_name(".c.old"))
    return stray(old)


def full(folder: Path) -> Path:
    shutil.rmtree(folder)
    folder.mkdir()
    return stray(folder)


def linked(folder: Path) -> Path:
    folder.rename(there := folder.with_name("there"))
    folder.symlink_to(there)
    return there / "manifest.json"


def plain(folder: Path) -> Path:
    shutil.rmtree(folder)
    folder.write_bytes(b"mine")
    return folder


def older(folder: Path) -> Path:
    change(folder, files={})
    return stray(folder)


@pytest.mark.parametrize("place", [stray, beside, full, linked, plain, older])
def test_save_replaces_nothing_that_isnt_a_checkpoint_alone(folder, place) -> None:
    kept = place(folder)
    content = kept.read_bytes()
    with pytest.raises(InputError, match="it isn't replaced: name a new or an empty folder"):
        save_checkpoint(folder, {"only": torch.ones(2)}, MANIFEST)
    assert kept.read_bytes() == content


def test_save_keeps_a_folders_mode_and_the_umask(folder) -> None:
    assert stat.S_IMODE((folder / "model-00001.safetensors").stat().st_mode) == 0o644
    folder.chmod(0o750)
    before = os.umask(0o077)
    try:
        save_checkpoint(folder, {"only": torch.ones(2)}, MANIFEST)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_manifest_is_replaced_where_it_lies_with_its_mode(folder, tmp_path) -> None:
    path, there = folder / "manifest.json", tmp_path / "elsewhere.json"
    path.rename(there)
    path.symlink_to(there)
    there.chmod(0o600)
    (folder / "manifest.tmp").write_text("mine")
    write_manifest(folder, read_manifest(folder).model_copy(update={"name": "other"}))
    assert path.is_symlink() and read_manifest(folder).name == "other"
    assert stat.S_IMODE(there.stat().st_mode) == 0o600 and (folder / "manifest.tmp").read_text() == "mine"


def change(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def entries(folder):
    return json.loads((folder / "manifest.json").read_text())["tensors"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)


FILES = [
    (lambda folder: (folder / "manifest.json").unlink(), "no readable manifest.json"),
    (lambda folder: shutil.rmtree(folder), "there is no such folder"),
    (lambda folder: (folder / "manifest.json").write_text("{"), "isn't valid JSON"),
    (lambda folder: (folder / "manifest.json").write_text("[" * 100_000), "isn't valid JSON"),
    (lambda folder: (folder / "manifest.json").write_bytes(b"\xff"), "isn't valid JSON"),
    (lambda folder: (folder / "model-00002.safetensors").unlink(), "lacks model-00002.safetensors"),
    (lambda folder: flip(folder / "model-00002.safetensors"), "model-00002.safetensors is damaged .its checksum"),
]


@pytest.mark.parametrize(("damage", "told"), FILES)
def test_load_names_the_file_at_fault(folder, damage, told) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=told):
        load_checkpoint(folder)


def test_a_checkpoint_without_checksums_opens_with_a_note(folder, caplog) -> None:
    change(folder, files={})
    assert load_checkpoint(folder)[1].keys() == TENSORS.keys()
    assert "has no checksums" in caplog.text


BIG = {"shape": [300, 40], "storage": "int8", "files": ["model-00001.safetensors"]}
DIGEST = "0" * 64
MANIFESTS = [
    ({"format": 9}, "format 9"),
    ({"extra": 1}, "extra: "),
    ({"modality": None}, "modality: "),
    ({"embedder": {}}, "embedder.name: "),
    ({"embedder": {"name": "toy", "fingerprint": {}}}, "embedder.fingerprint.hash: "),
    ({"embedder": {"name": "toy", "fingerprint": "abc"}}, "embedder.fingerprint: "),
    ({"embedder": {"name": "toy", "dimension": -1}}, "embedder.dimension: "),
    ({"self_test": {"steps": 1, "beam": 1, "similarity": 1}}, "self_test: .*a probe or an object"),
    ({"self_test": {"probe": 0, "steps": 1, "beam": 0, "similarity": 1}}, "self_test.beam: "),
    ({"calibration": {"similarity": [0.0], "probability": [7.0], "n": 2}}, "calibration.probability.0: "),
    ({"calibration": {"similarity": [0.5, 0.1], "probability": [0.1, 0.2], "n": 2}}, "similarity falls"),
    ({"calibration": {"similarity": [0.0, 0.1], "probability": [0.3, 0.2], "n": 2}}, "probability falls"),
    ({"calibration": {"similarity": [0.0], "probability": [0.3, 0.4], "n": 2}}, "one probability"),
    ({"calibration": {"similarity": [float("nan")], "probability": [0.3], "n": 2}}, "calibration.similarity.0: "),
    ({"tensors": {"big": BIG | {"files": []}}}, "tensors.big.files: "),
    ({"tensors": {"big": BIG | {"files": ["../x.safetensors"]}}}, "within the checkpoint's folder"),
    ({"tensors": {"big": BIG | {"files": ["/etc/passwd"]}}}, "within the checkpoint's folder"),
    ({"files": {"../x": DIGEST}}, "within the checkpoint's folder"),
    ({"files": {"x": "abc"}}, "files.x: "),
    ({"tensors": {"big": BIG | {"shape": [-3, 40]}}}, "tensors.big.shape.0: "),
]


@pytest.mark.parametrize(("values", "told"), MANIFESTS)
def test_load_names_the_key_at_fault_in_one_line(folder, values, told) -> None:
    change(folder, **values)
    with pytest.raises(CheckpointError, match=told) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def edited(folder: Path, name: str, tensor: torch.Tensor) -> None:
    path = folder / entries(folder)[name.removesuffix(".scale")]["files"][0]
    save_file({**load_file(path), name: tensor}, path)


def ghost(folder: Path) -> None:
    change(folder, tensors=entries(folder) | {"ghost": entries(folder)["vector"]})


def unnamed(folder: Path) -> None:
    change(folder, tensors={key: value for key, value in entries(folder).items() if key != "vector"})


def reshaped(name: str, shape: list[int]):
    return lambda folder: change(folder, tensors={**entries(folder), name: entries(folder)[name] | {"shape": shape}})


def cut(folder: Path) -> None:
    path = folder / "model-00001.safetensors"
    path.write_bytes(path.read_bytes()[:50])


def a_folder(folder: Path) -> None:
    (folder / "model-00001.safetensors").unlink()
    (folder / "model-00001.safetensors").mkdir()


CONTENTS = [
    (cut, "model-00001.safetensors is damaged"),
    (a_folder, "model-00001.safetensors"),
    (ghost, "lacks tensor 'ghost'"),
    (unnamed, "holds tensor 'vector'"),
    (reshaped("vector", [7, 1, 2]), "has shape"),
    (reshaped("big", [40, 300]), "has shape"),
    (lambda folder: edited(folder, "vector", torch.ones(7).double()), "torch.float64; the manifest says float32"),
    (lambda folder: edited(folder, "vector", torch.full((7,), torch.nan)), "'vector' holds NaN or infinity"),
    (lambda folder: edited(folder, "big.scale", torch.full((90,), torch.inf)), "'big' holds NaN or infinity"),
    (lambda folder: edited(folder, "big.scale", torch.ones(3)), "'big' needs one scale a row"),
]


@pytest.mark.parametrize(("damage", "told"), CONTENTS)
def test_load_names_the_tensor_at_fault(folder, damage, told) -> None:
    change(folder, files={})  # so that more than a checksum looks at it
    damage(folder)
    with pytest.raises(CheckpointError, match=told):
        load_checkpoint(folder)


def test_a_manifest_of_before_there_were_methods_names_its_method() -> None:
    assert Manifest(modality="vec2text", name="x", config={}, embedder={"name": "e"}).method == "vec2text"
    assert Manifest(modality="text", method="closed", name="x", config={}, embedder={"name": "e"}).method == "closed"
    assert migrated({"modality": "a", "name": "x"}) == {"modality": "a", "method": "a", "name": "x"}


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (lambda: torch.nn.Linear(2, 3), "without tensor 'extra'"),
        (lambda: torch.nn.Linear(10**12, 3), r"'weight' is \[3, 2\] in its files, \[3, 1000000000000\] by its config"),
    ],
)
def test_a_config_that_doesnt_fit_its_tensors_is_refused_without_memory_for_it(network, told) -> None:
    tensors = {**torch.nn.Linear(2, 3).state_dict(), "extra": torch.ones(1)}
    with pytest.raises(CheckpointError, match=told):
        check_fit(network, tensors, Path("here"))
    with pytest.raises(CheckpointError, match="'bias' is in none of its files"):
        check_fit(lambda: torch.nn.Linear(2, 3), {"weight": torch.ones(3, 2)}, Path("here"))
    check_fit(lambda: torch.nn.Linear(2, 3), {"weight": torch.ones(3, 2)}, Path("here"), aliases="bias".__eq__)
