"""Training, for any modality: `train(config_path)` is what `unembed train` calls."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from unembed.config import parse, read_toml
from unembed.training.config import TrainConfig
from unembed.training.recipe import Recipe
from unembed.training.trainer import Trainer

__all__ = ["Recipe", "TrainConfig", "Trainer", "train"]

log = logging.getLogger("unembed.training")


def train(path: Path, *, resume: bool = False, overrides: Sequence[str] = ()) -> None:
    """Train what the TOML file at `path` describes; `overrides` are `key=value`, as in the file.

    Writes `state.pt` (to resume), `checkpoint/` (to load), `log.jsonl` and TensorBoard scalars to the
    config's `output`. Raises ConfigError for a wrong file or value.
    """
    from torch.utils.tensorboard import SummaryWriter

    from unembed.registry import modality

    config = parse(TrainConfig, read_toml(path, overrides), str(path))
    device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    recipe = modality(config.modality).recipe({**config.recipe, "device": str(device), "seed": config.seed})
    config.output.mkdir(parents=True, exist_ok=True)
    writer = SummaryWriter(config.output / "tensorboard")
    peak = _peak_tflops(device)
    shown = [-config.log_every]

    def on_event(kind: str, step: int, values: dict[str, Any]) -> None:
        with open(config.output / "log.jsonl", "a") as file:
            print(json.dumps({"kind": kind, "step": step, **values}), file=file)
        if kind == "scalars":
            for name, value in values.items():
                writer.add_scalar(name, value, step)
        if kind == "scalars" and "tflops" in values:
            if step - shown[0] < config.log_every:
                return
            shown[0] = step
            values = {**values, "share_of_peak": values["tflops"] / peak}
        log.info("step %d %s", step, "  ".join(f"{k} {_short(v)}" for k, v in values.items()))

    Trainer(config, recipe, resume=resume, on_event=on_event).run()
    writer.close()


def _peak_tflops(device: torch.device) -> float:
    """The device's own matrix rate in TFLOP/s, measured: bf16 on an accelerator, float32 on a CPU."""
    import time

    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.monotonic()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.monotonic() - began)
    return 2 * size**3 / best / 1e12


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
