"""A toy to train: a trainer of its own, and a config for `train`."""

import pytest

from unembed.config import parse
from unembed.testing.toy import ToyRecipe
from unembed.training import TrainConfig, Trainer, train

BASE = {"method": "toy", "steps": 40, "round_steps": 4, "guess_steps": 8, "save_every": 8, "evaluate_every": 16}


def trainer(folder, *, resume=False, **changes):
    config = parse(TrainConfig, {**BASE, "output": folder, **changes}, "test")
    recipe = ToyRecipe({"device": "cpu", "seed": config.seed})
    return Trainer(config, recipe, resume=resume)


def written(folder):
    path = folder / "toy.toml"
    path.write_text(f'method = "toy"\noutput = "{folder}/run"\nsteps = 8\nround_steps = 4\n')
    return path


@pytest.fixture
def config(tmp_path, toy_plugin):
    return written(tmp_path)


@pytest.fixture
def finished(tmp_path_factory, toy_plugin):
    """The output of a finished run, trained once."""
    if not _finished:
        folder = tmp_path_factory.mktemp("finished")
        train(written(folder))
        _finished.append(folder / "run")
    return _finished[0]


_finished = []
