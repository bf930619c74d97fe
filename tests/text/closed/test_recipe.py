"""The text recipe on a toy-sized network: what it starts from, and the hypotheses that it proposes."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import unembed
import unembed_text.methods.closed.recipe as recipe_module
from unembed.errors import ConfigError
from unembed_text.methods.closed.recipe import TextRecipe

TEXTS = ["the cat sat on the mat. it was warm there and nobody minded", "one two three four five six seven", "why not?"]


@pytest.fixture
def make(small_checkpoint, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS))

    def build(**changes) -> TextRecipe:
        options = {
            "name": "small",
            "embedder": "minilm",
            "start": str(small_checkpoint),
            "train": [path],
            "validation": [path],
            "longest": 8,
            "shares": [1, 1],
            "batch_tokens": 256,
            "device": "cpu",
            "seed": 0,
        }
        return TextRecipe({**options, **changes})

    return build


def propose(made: TextRecipe, signals: torch.Tensor, seed: int = 0) -> torch.Tensor:
    target = made.embed(signals)
    with torch.no_grad():
        return made.propose(target, None, None, signals, torch.Generator().manual_seed(seed))


def batch(made: TextRecipe) -> torch.Tensor:
    return max(made.batches(8, torch.Generator().manual_seed(0)), key=lambda signals: signals.shape[1])


def test_recipe_goes_on_from_a_checkpoint_with_its_own_dropout(make) -> None:
    assert make(dropout=0.0).network.decoder.dropout == 0.0
    made = make(dropout=0.3)
    assert made.network.encoder.dropout == made.network.decoder.dropout == 0.3
    with torch.no_grad():  # the checkpoint's weights, not new ones
        weights = [other.network.decoder.lm_head.weight for other in (made, make())]
    assert torch.equal(*weights)


def test_proposals_are_seeded_texts_of_the_batch_s_width(make) -> None:
    made = make()
    signals = batch(made)
    first, again, other = (propose(made, signals, seed) for seed in (0, 0, 1))
    assert first.shape == signals.shape
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert made.network.training


def test_proposals_near_the_text_share_its_tokens(make) -> None:
    signals = batch(make())
    common = []
    for near in (0.0, 0.9):
        found = propose(make(near=near), signals)
        common.append(sum(len(set(a) & set(b) - {0}) for a, b in zip(found.tolist(), signals.tolist(), strict=True)))
    assert common[1] > 2 * common[0] + 4


def test_proposals_may_be_written_a_few_at_once(make, monkeypatch) -> None:
    signals = batch(make())
    monkeypatch.setattr(recipe_module, "AT_ONCE", 5)
    assert propose(make(), signals).shape == signals.shape


def test_operations_leave_padding_out(make) -> None:
    made = make()
    signals = torch.tensor([[5, 6, 7, 0], [5, 0, 0, 0]])
    wider = torch.nn.functional.pad(signals, (0, 3))
    assert float(made.flops(signals, True)) == float(made.flops(wider, True)) > float(made.flops(signals, False)) > 0


@pytest.mark.parametrize("bad", [{"near": 1.0}, {"dropout": -0.1}, {"shares": []}])
def test_recipe_refuses_wrong_values(make, bad) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        make(**bad)


def test_a_surrogate_begins_as_the_encoder_and_goes_into_the_checkpoint(make, tmp_path) -> None:
    made = make(student=1, dropout=0.0)
    network, signals = made.network, batch(make())
    assert torch.equal(
        network.surrogate.blocks[0].attention.q_proj.weight, network.encoder.blocks[0].attention.q_proj.weight
    )
    assert torch.equal(network.surrogate.position_bias.weight, network.encoder.position_bias.weight)
    assert made.scalars() == {}
    network(made.embed(signals), signals).backward()
    assert 0 < made.scalars()["student_loss"] < 2 and made.scalars() == {}
    assert network.surrogate.head.weight.grad.abs().sum() > 0
    made.save(tmp_path / "checkpoint", {})
    again = make(start=str(tmp_path / "checkpoint"))
    with torch.no_grad():
        found = [x.network.eval().predict(signals) for x in (made, again)]
    assert torch.allclose(*found, atol=1e-2)  # weights were rounded to half precision
    inverter = unembed.load(tmp_path / "checkpoint", device="cpu")
    hypothesis = inverter.codec.encode(["a cat on a mat", "why not?"])
    vectors = inverter.embed(["the cat sat on the mat", "who knows"])
    edited = inverter.editor.correct(vectors, hypothesis, inverter.embedder.embed(hypothesis), 5)
    assert edited.shape == (2, 5, hypothesis.shape[1])
    assert len({tuple(row) for row in edited[0].tolist()}) > 1


def test_targets_are_roughened_if_asked_and_go_with_their_noise(make) -> None:
    made, signals = make(rough=0.5, untold=0.0), batch(make())
    vectors, generator = made.embed(signals), torch.Generator().manual_seed(0)
    assert make().observe(vectors, generator) == (vectors, None)
    target, noise = made.observe(vectors, generator)
    assert ((target == vectors).all(1) == (noise == 0)).all() and 0 < (noise > 0).sum() < len(noise)
    hypothesis = made.propose(target, None, None, signals, generator, noise=noise)
    found = made.propose(target, hypothesis, made.embed(hypothesis), signals, generator, noise=noise)
    assert found.shape == signals.shape
    made.network(target, signals, found, made.embed(found), noise=noise).backward()
    assert made.network.noise.weight.grad.abs().sum() > 0


def test_a_checkpoint_without_the_noise_s_weights_opens_as_before(make, small_checkpoint, tmp_path) -> None:
    folder = shutil.copytree(small_checkpoint, tmp_path / "older")
    for path in folder.glob("*.safetensors"):
        kept = {name: value for name, value in load_file(path).items() if not name.startswith("noise.")}
        save_file(kept, path, {"format": "pt"})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tensors"] = {name: x for name, x in manifest["tensors"].items() if not name.startswith("noise.")}
    del manifest["files"]  # older ones have no checksums either
    (folder / "manifest.json").write_text(json.dumps(manifest))
    vectors = make().embedder.embed(batch(make()))[:2]
    older, now = (
        unembed.load(path, device="cpu").invert(vectors, steps=1, beam=2) for path in (folder, small_checkpoint)
    )
    assert older.objects == now.objects
    assert not make(start=str(folder)).network.noise.weight.any()


def test_the_longest_text_written_is_the_start_s_unless_given(make) -> None:
    assert make().config["length"] == make().inverter().corrector.length == 12
    assert make(length=20).config["length"] == 20


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"positions": 5}, r"\[recipe\] positions: .*where it starts, has 2; leave positions out"),
        ({"hidden": 99}, "hidden: .*has 16"),
        ({"layers": 99}, "layers: .*has 1;"),
        ({"longest": 9999}, "longest: 'minilm' reads 254 tokens"),
        ({"tops": [4, 9999]}, "tops: 'minilm' reads 254 tokens"),
        ({"shares": [1] * 9}, "shares: 9 ranges of length are too many for 8 tokens"),
        ({"shares": [0, 0]}, "shares: .*above 0"),
        ({"anywhere": 7}, "anywhere"),
        ({"batch_tokens": -5}, "batch_tokens"),
        ({"held_out": -1}, "held_out"),
        ({"storage": "int4"}, "storage"),
        ({"validation": []}, "validation"),
        ({"dropout": True}, "dropout: .*got true"),
    ],
)
def test_recipe_refuses_what_it_cant_obey(make, changes, told) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        make(**changes)
    assert len(str(caught.value)) < 300


def test_recipe_takes_what_its_start_says_anyway(make) -> None:
    assert make(positions=2, hidden=16, layers=1).config["positions"] == 2


def test_recipe_misses_its_validation_before_it_reads(make) -> None:
    with pytest.raises(unembed.InputError, match=r"no file none\.txt, which \[recipe\] validation names"):
        make(validation=["none.txt"], train=["none-either.txt"])


def test_recipe_refuses_an_embedder_of_another_width_than_its_start(make, t5_encoder) -> None:
    with pytest.raises(ConfigError, match=r"start: .* reads vectors 384 wide, and those of .* are 24 wide"):
        make(embedder=f"hf:{t5_encoder}")
