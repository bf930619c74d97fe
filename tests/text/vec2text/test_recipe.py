"""A pair trains from any T5 for any text embedder, and what it saves is what `load` opens."""

import json
from importlib.metadata import version

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from unembed import load
from unembed.config import parse, read_toml
from unembed.errors import ConfigError
from unembed.training import TrainConfig, train
from unembed_text.decoder.convert import rename_t5
from unembed_text.methods.vec2text.recipe import PairRecipe
from unembed_text.sources.t5 import read_t5

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["hello there, what time is it?", "the quick brown fox jumps over the lazy dog", "how do i reset my password?"]


@pytest.fixture(params=[True, False], ids=["t5", "v1.1"])
def options(request, tmp_path, t5_encoder, save_t5) -> dict:
    start = save_t5(tmp_path / "start", first=request.param)
    data = tmp_path / "texts.txt"
    data.write_text("\n".join(TEXTS * 10))
    recipe = {"name": "mine", "embedder": f"hf:{t5_encoder}", "train": [str(data)], "validation": [str(data)]}
    return {**recipe, "start": str(start), "tokens": 12, "positions": 2, "batch_tokens": 200, "held_out": 4}


def test_networks_start_as_the_t5_that_was_named(options, request) -> None:
    recipe = PairRecipe({**options, "device": "cpu", "seed": 0})
    t5, weights, pieces = read_t5(options["start"])
    wanted = T5ForConditionalGeneration(T5Config(**{**t5, "tie_word_embeddings": False}))
    wanted.config.tie_word_embeddings = wanted.config.scale_decoder_outputs = False
    wanted.set_input_embeddings(wanted.shared)
    wanted.lm_head.weight = torch.nn.Parameter(torch.empty(t5["vocab_size"], 32))
    theirs = rename_t5({name: name for name in wanted.state_dict()})
    assert set(theirs) == set(weights)
    wanted.load_state_dict({name: weights[ours] for ours, name in theirs.items()}, strict=False)
    network, ids = recipe.network.correction.eval(), torch.tensor([[5, 9, 3]])
    states = torch.randn(1, 4, 32)
    with torch.no_grad():
        found = network.decoder.lm_head(network.decoder.read(states, torch.zeros(1, 1, 1, 4), ids))
        start = torch.cat([torch.zeros(1, 1, dtype=torch.long), ids], 1)
        logits = wanted.eval()(encoder_outputs=(states,), decoder_input_ids=start).logits
    assert torch.allclose(found, logits, atol=1e-4) and len(pieces) == t5["vocab_size"]


def test_training_lowers_both_losses_and_saves_an_inverter(options, tmp_path) -> None:
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
    config = tmp_path / "config.toml"
    config.write_text(
        f'method = "vec2text"\noutput = "{tmp_path / "run"}"\nsteps = 60\nround_steps = 10\nguess_steps = 20\n'
        f"warmup = 5\nevaluate_every = 60\ndevice = 'cpu'\n[recipe]\n{table}\n"
    )
    train(config)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for name in ("guess_loss", "correct_loss"):
        losses = [row[name] for row in log if name in row]
        assert losses[-1] < losses[0]
    inverter = load(str(tmp_path / "run" / "checkpoint"), device="cpu")
    found = inverter.invert(inverter.embed(TEXTS), steps=1, beam=2)
    assert len(found.objects) == 3 and inverter.manifest.versions["unembed"] == version("unembed")


@pytest.mark.parametrize("options", [True], indirect=True)
def test_more_layers_than_the_t5_has_are_refused(options) -> None:
    with pytest.raises(ConfigError, match="layers: the T5 that it starts from has 2, not 99"):
        PairRecipe({**options, "layers": 99, "device": "cpu", "seed": 0})


def test_a_config_asks_for_no_more_depth_than_a_pair_can_learn(tmp_path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'method = "vec2text"\noutput = "{tmp_path / "run"}"\ndepth = 2\n')
    with pytest.raises(ConfigError, match="depth: 2 is too much for method 'vec2text'; set depth = 1"):
        train(config)


def test_corrections_of_corrections_are_refused(options) -> None:
    recipe = PairRecipe({**options, "device": "cpu", "seed": 0})
    ids, target = torch.ones(1, 3, dtype=torch.long), torch.randn(1, 24)
    with pytest.raises(ValueError, match="depth = 1"):
        recipe.propose(target, ids, target, ids, torch.Generator())


def test_a_start_that_isnt_there_is_named(options) -> None:
    with pytest.raises(ConfigError, match="no pretrained T5 at"):
        read_t5(options["start"] + "-not")


def test_the_example_is_a_valid_config() -> None:
    config = parse(TrainConfig, read_toml("examples/train_gtr.toml"), "examples")
    assert config.depth == 1 and config.recipe["start"] == "t5-base"
