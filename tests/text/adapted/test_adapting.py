"""Adapting a toy-sized inverter: to functions, servers and stored vectors, from the library and the command line."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

import unembed
from unembed.checkpoints.manifest import read_manifest
from unembed.cli import root
from unembed.errors import CheckpointError, EmbedderMismatchError, InputError, UnknownNameError
from unembed.testing import inverter_checks
from unembed_text.methods.adapted import tuning
from unembed_text.methods.adapted.moves import Toward

WORDS = re.findall(r"\w+", "the old red invoice patient was paid given sent to my new house tea 20 mg hello what time")


def sentences(count: int) -> list[str]:
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(WORDS, draw.integers(3, 9))) for _ in range(count)]


TEXTS = sentences(60)


@pytest.fixture(scope="session")
def other(embedder):
    """Another embedder: MiniLM bent, and 100 wide."""
    mix = torch.randn(384, 100, generator=torch.Generator().manual_seed(3))

    def bent(texts: list[str]):
        return torch.tanh(embedder.embed_texts(texts) @ mix).numpy()

    return bent


@pytest.fixture(scope="session")
def adapted(small_checkpoint, other, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapted") / "bent"
    unembed.adapt(folder, embedder=other, data=TEXTS, base=str(small_checkpoint), device="cpu")
    return folder


_made: list = []


@inverter_checks(
    lambda: unembed.load(_made[0], embedder=_made[1], device="cpu"),
    ["hello there my old friend", "what time is it?"],
)
def test_an_adapted_inverter_conforms(check, adapted, other) -> None:
    _made[:] = [adapted, other]
    check()


def test_a_checkpoint_is_small_and_says_what_it_is(adapted, small_checkpoint, other) -> None:
    manifest = read_manifest(adapted)
    assert (manifest.method, manifest.modality, manifest.name) == ("adapted", "text", "bent")
    assert manifest.embedder.name == "bent" and manifest.embedder.dimension == 100 and manifest.embedder.fingerprint
    base = manifest.config["base"]
    assert base["name"] == str(small_checkpoint)
    assert base["embedder"]["hash"] == read_manifest(small_checkpoint).embedder.fingerprint.hash
    assert manifest.training["pairs"] == 60 and manifest.quality["map"]["pairs"] == 6
    assert sum(path.stat().st_size for path in adapted.iterdir()) < 2_000_000
    unembed.load(adapted, embedder=other, device="cpu", self_test=True)


def test_an_estimate_comes_nearer_the_nearer_its_evidence(adapted, other, embedder) -> None:
    inverter = unembed.load(adapted, embedder=other, device="cpu")
    aim, codec = inverter.hypothesizer.aim, inverter.codec
    target, true = inverter.embed(["the old invoice was paid"]), embedder.embed_texts(["the old invoice was paid"])
    near = ["the old invoice was sent", "the red invoice was paid", "an old invoice is paid"]
    reached = [float(F.cosine_similarity(aim.map(target), true))]
    for texts in (["tea", "hello", "20 mg"], near, [*near[:2], "the old invoice was paid"]):
        signals = codec.encode(texts)
        given = (target, signals[None], inverter.embedder.embed(signals)[None])
        reached.append(float(F.cosine_similarity(aim.estimate(*given, torch.tensor([3])), true)))
    assert reached[0] < reached[2] < reached[3] and reached[3] > 0.97
    assert abs(reached[1] - reached[0]) < 0.05  # what is far off says little
    one = aim.estimate(target, signals[None], inverter.embedder.embed(signals)[None], torch.tensor([1]))
    alone = aim.estimate(target, signals[None, :1], inverter.embedder.embed(signals)[None, :1], torch.tensor([1]))
    assert torch.allclose(one, alone, atol=1e-5)  # what isn't counted isn't looked at


def test_efforts_are_those_of_the_base_toward_an_estimate(adapted, other, small_checkpoint) -> None:
    inverter, base = unembed.load(adapted, embedder=other, device="cpu"), unembed.load(small_checkpoint, device="cpu")
    vectors = inverter.embed(TEXTS[:2])
    for name, effort in inverter.efforts.items():
        assert [move.inner for move in effort.moves] == list(base.efforts[name].moves), name
        assert all(isinstance(move, Toward) for move in effort.moves)
        assert effort.fitted(inverter.parts).most() == base.efforts[name].fitted(base.parts).most()
    found = inverter.invert(vectors, effort="high", steps=2)
    assert (found.queries > 8).all() and (found.similarity >= inverter.invert(vectors, steps=0).similarity).all()
    plain = inverter.invert(vectors, effort=unembed.Effort(), steps=2, beam=2)
    assert len(plain.objects) == 2  # moves that know nothing of a base work too


def test_vectors_that_leaked_with_their_texts_do_without_a_model(small_checkpoint, other, tmp_path) -> None:
    vectors = other(TEXTS)
    table = pyarrow.table({"text": TEXTS, "embedding": list(vectors)})
    pyarrow.parquet.write_table(table, tmp_path / "leak.parquet")
    given = {"pairs_from": tmp_path / "leak.parquet", "base": str(small_checkpoint), "device": "cpu"}
    unasked = unembed.adapt(tmp_path / "unasked", **given)
    assert not unasked.embedder.available and unasked.manifest.embedder.fingerprint is None
    found = unembed.load(tmp_path / "unasked", device="cpu").invert(vectors[:3])
    assert len(found.objects) == 3 and found.similarity.isnan().all() and not found.queries.any()
    with pytest.raises(InputError, match=r"can't be asked: .*search with 0 steps, or name the model as embedder"):
        unasked.invert(vectors[:3], steps=1)
    asked = unembed.load(tmp_path / "unasked", embedder=other, device="cpu")
    assert asked.invert(vectors[:3], steps=1).similarity.isfinite().all()
    both = unembed.adapt(tmp_path / "both", embedder=other, **given)
    assert both.embedder.available
    with pytest.raises(InputError, match=r"isn't what .* answers to it"):
        unembed.adapt(tmp_path / "odd", embedder=lambda texts: other(texts)[:, ::-1].copy(), **given)
    pyarrow.parquet.write_table(table.drop(["text"]), tmp_path / "bare.parquet")
    with pytest.raises(InputError, match="no record has its text beside its vector"):
        unembed.adapt(tmp_path / "bare", **{**given, "pairs_from": tmp_path / "bare.parquet"})


def test_another_base_or_embedder_is_refused(adapted, other, small_checkpoint, tmp_path) -> None:
    with pytest.raises(EmbedderMismatchError, match="returns other embeddings"):
        unembed.load(adapted, embedder=lambda texts: other(texts)[:, ::-1].copy(), device="cpu")
    with pytest.raises(InputError, match="is itself adapted"):
        unembed.adapt(tmp_path / "x", embedder=other, data=TEXTS, base=str(adapted), device="cpu")
    for change, told in (
        ({"base": {"name": str(adapted)}}, "is itself adapted"),
        ({"base": {"name": str(tmp_path / "gone")}}, "gone"),
        ({"centres": 3}, "disagree"),
        ({"scale": -1}, "config.scale"),
    ):
        manifest = json.loads((adapted / "manifest.json").read_text())
        base = {**manifest["config"]["base"], **change.get("base", {})}
        manifest["config"] = {**manifest["config"], **change, "base": base}
        odd = tmp_path / "odd"
        odd.mkdir(exist_ok=True)
        for file in adapted.iterdir():
            (odd / file.name).write_bytes(file.read_bytes())
        (odd / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises((CheckpointError, InputError, UnknownNameError), match=told):
            unembed.load(odd, embedder=other, device="cpu")


def test_whole_texts_are_embedded_in_both_spellings_and_cut_ones_in_turn(small_checkpoint) -> None:
    from unembed_text.methods.adapted.pairs import chosen_texts

    base = unembed.load(small_checkpoint, device="cpu")
    texts = [f"Number {count} Was SENT to my house" for count in range(10)]
    whole = chosen_texts([*texts, *texts], base, pairs=8)
    assert len(whole) == 8 and sorted(text == text.lower() for text in whole) == [False] * 4 + [True] * 4
    cut = chosen_texts(texts, base, pairs=6, lengths=(2, 4))
    assert sorted(base.codec.lengths(cut)) == [2, 2, 2, 4, 4, 4]


def test_the_command_adapts_to_a_server(server, small_checkpoint, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNEMBED_CACHE", str(tmp_path / "cache"))
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    command = ["adapt", str(tmp_path / "e5"), "--embedder", f"{server}#e5-query", "--base", str(small_checkpoint)]
    command += ["--data", str(tmp_path / "texts.txt"), "--pairs", "40", "--device", "cpu"]
    result = CliRunner().invoke(root, [*command, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["pairs"] == 40 and 0 < found["cosine"] <= 1 and found["rank"] >= 1
    assert "43 queries in" in result.stderr
    again = CliRunner().invoke(root, command)
    assert f"try: unembed invert 'some text' --inverter {tmp_path}" in again.stderr
    assert "0 queries in 0 requests" in again.stderr and "fitted to 40 pairs" in again.stdout
    inverted = CliRunner().invoke(
        root, ["invert", "hello there", "--inverter", str(tmp_path / "e5"), "--steps", "1", "--json"]
    )
    assert inverted.exit_code == 0 and json.loads(inverted.stdout)["queries"] > 1


def test_what_contradicts_is_refused(small_checkpoint, other, tmp_path) -> None:
    given = {"base": str(small_checkpoint), "device": "cpu"}
    with pytest.raises(InputError, match="either texts to embed"):
        unembed.adapt(tmp_path / "x", embedder=other, **given)
    with pytest.raises(InputError, match="name the embedder to ask"):
        unembed.adapt(tmp_path / "x", data=TEXTS, **given)
    for words in (["--max-cost", "1"], ["--embedder", "minilm", "--max-cost", "1", "--data", "x.txt"]):
        result = CliRunner().invoke(root, ["adapt", str(tmp_path / "x"), *words])
        assert result.exit_code and "--max-cost" in str(result.exception)


def test_a_tuned_one_brings_its_network(small_checkpoint, other, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tuning, "CPU_TOKENS", 100)
    monkeypatch.setattr(tuning, "SCHEDULE", {**tuning.SCHEDULE, "round_steps": 2, "depth": 1})
    inverter = unembed.adapt(
        tmp_path / "tuned", embedder=other, data=TEXTS, base=str(small_checkpoint), device="cpu", tune=0.01
    )
    manifest = inverter.manifest
    assert manifest.config["base"]["tuned"] and manifest.training["tuned"]["steps"] > 0
    assert {"base/manifest.json", "model-00001.safetensors"} <= set(manifest.files)
    shutil.rmtree(tmp_path / "tuned.tuning")
    again = unembed.load(tmp_path / "tuned", embedder=other, device="cpu")
    network, before = (
        loaded.hypothesizer.base.network if loaded is again else loaded.hypothesizer.network
        for loaded in (again, unembed.load(small_checkpoint, device="cpu"))
    )
    changed = [not torch.equal(a, b) for a, b in zip(network.parameters(), before.parameters(), strict=True)]
    assert any(changed)
    assert len(again.invert(again.embed(TEXTS[:2]), steps=1, beam=2).objects) == 2
