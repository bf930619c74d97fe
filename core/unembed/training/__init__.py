"""Training, for any modality: `train(config_path)` is what `unembed train` calls."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from unembed.config import parse, read_toml
from unembed.devices import choose_device
from unembed.training.config import TrainConfig
from unembed.training.output import Output
from unembed.training.preparing import build_recipe, fitted_depth
from unembed.training.recipe import Recipe
from unembed.training.report import Report, peak_tflops
from unembed.training.trainer import Trainer

__all__ = ["Recipe", "TrainConfig", "Trainer", "train"]


def train(path: Path, *, resume: bool = False, overrides: Sequence[str] = ()) -> None:
    """Train what the TOML file at `path` describes; `overrides` are `key=value`, as in the file.

    Writes `state.pt` (to resume), `checkpoint/` (to load), `log.jsonl` and TensorBoard scalars to the
    config's `output`, a new or empty folder; with `resume` the training there goes on. Under `accelerate launch` or
    `torchrun` every process takes batches of its own, and gradients are averaged. Raises ConfigError for a wrong file
    or value, InputError for an output that isn't this training's, CheckpointError for a damaged state, TrainingError
    where the loss is no number any more, OutputError where the disk is full.
    """
    from unembed.registry.discovery import method

    config = parse(TrainConfig, read_toml(path, overrides), str(path))
    trained = method(config.method)
    config = fitted_depth(config, trained)
    main = int(os.environ.get("RANK", 0)) == 0  # of the processes of a launcher
    output = Output(config.output)
    if main:
        output.check(config, resume=resume)
    device = choose_device(config.device or _own_device())
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) if device.index is None else device.index)
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    recipe = build_recipe(trained, config.recipe, device=str(device), seed=config.seed)
    if not main:
        Trainer(config, recipe, resume=resume).run()
        return
    with output.claimed(config, resume=resume):
        trainer = Trainer(config, recipe, resume=resume)
        if resume:
            output.cut_log(trainer.step)
        report = Report(config.output, every=config.log_every, peak=peak_tflops(device), begun=trainer.step)
        try:
            trainer.run(report)
        finally:
            report.close()


def _own_device() -> str:
    """The accelerator of this process, which a launcher for several numbers by LOCAL_RANK; else the CPU."""
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
