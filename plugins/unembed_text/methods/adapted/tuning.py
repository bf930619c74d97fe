"""Going on with the base's training, on targets that are off as mapped vectors are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from unembed.checkpoints.manifest import read_manifest
from unembed.errors import InputError
from unembed.training import train

__all__ = ["tuned"]

HELD_OUT = 0.02  # of the texts, for the evaluation while it trains
ROUGH = 0.9  # of the targets are off; the others keep what the base knows of exact ones
LONGEST = 32  # tokens, of the base's windows
CPU_TOKENS, TOKENS = 2048, 65_536  # a batch
# Gentle: hotter legs of a few minutes have made trained weights worse.
SCHEDULE = {"rate": 2e-3, "warmup": 50, "decay": 0.7, "guess_steps": 0, "round_steps": 16, "depth": 2}


def tuned(
    folder: Path,
    base: Path,
    errors: Tensor,
    texts: Sequence[str],
    lengths: Sequence[int],
    *,
    minutes: float,
    device: torch.device,
    seed: int,
    recipe: dict[str, Any] | None = None,
) -> Path:
    """Train the network of the checkpoint `base` for some minutes in `folder`; returns the new checkpoint's folder.

    Its hypotheses lie exactly where the base's embedder puts them, as in a search; its targets are off by `errors`
    `[M, B]` of random sizes. `texts` are `lengths` tokens long, and the first of them are held out. `recipe` sets more
    of the recipe's table. Raises InputError for a base that isn't a checkpoint of the method `closed`.
    """
    manifest = read_manifest(base)
    if manifest.method not in ("closed", "text"):
        raise InputError(f"only inverters of the method 'closed' can be tuned; {base} is of {manifest.method!r}")
    folder.mkdir(parents=True, exist_ok=True)
    few = min(2000, max(1, round(HELD_OUT * len(texts))))
    for name, part in (("validation", texts[:few]), ("train", texts[few:])):
        lines = [" ".join(text.split()) for text in part]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    save_file({"errors": errors.float().contiguous().cpu()}, folder / "errors.safetensors")
    on_gpu = device.type == "cuda"
    top = {
        "method": "closed",
        "output": str(folder / "run"),
        "seed": seed,
        "steps": 10**9,
        "total_seconds": 60 * minutes,
        "device": str(device),
        "precision": "bf16" if on_gpu else "no",
        "compile": on_gpu,
        "save_every": 10**6,
        "evaluate_every": 10**6,
        **SCHEDULE,
    }
    table = {
        "name": manifest.name,
        "embedder": manifest.embedder.name,
        "start": str(base),
        "train": [str(folder / "train.txt")],
        "validation": [str(folder / "validation.txt")],
        "errors": str(folder / "errors.safetensors"),
        "rough": ROUGH,
        "longest": min(LONGEST, max(lengths[:few]), max(lengths[few:])),
        "batch_tokens": TOKENS if on_gpu else CPU_TOKENS,
        "storage": "int8",
        **(recipe or {}),
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
    lines += ["[recipe]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    (folder / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    train(folder / "config.toml")
    return folder / "run" / "checkpoint"
