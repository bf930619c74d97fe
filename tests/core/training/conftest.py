"""A toy to train: a trainer of its own, and a config for `train`."""

import pytest

from unembed.config import parse
from unembed.testing.toy import ToyRecipe
from unembed.training import TrainConfig, Trainer

BASE = {"method": "toy", "steps": 40, "round_steps": 4, "guess_steps": 8, "save_every": 8, "evaluate_every": 16}


def trainer(folder, *, resume=False, **changes):
    config = parse(TrainConfig, {**BASE, "output": folder, **changes}, "test")
    recipe = ToyRecipe({"device": "cpu", "seed": config.seed})
    return Trainer(config, recipe, resume=resume)


@pytest.fixture
def config(tmp_path, toy_plugin):
    path = tmp_path / "toy.toml"
    path.write_text(f'method = "toy"\noutput = "{tmp_path}/run"\nsteps = 8\nround_steps = 4\n')
    return path
