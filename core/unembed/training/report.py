"""What a run leaves behind as it goes: a log, TensorBoard scalars, lines on the logger."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from unembed.errors import OutputError, brief

__all__ = ["Report", "peak_tflops"]

log = logging.getLogger("unembed.training")


class Report:
    """The trainer's `on_event`: appends to `log.jsonl` and TensorBoard, logs scalars every `every` steps."""

    def __init__(self, folder: Path, *, every: int, peak: float, begun: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self.every = every
        self.peak = peak
        self.shown = -every
        self.writer = SummaryWriter(folder / "tensorboard", purge_step=begun + 1 if begun else None)

    def __call__(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add a row to log.jsonl and TensorBoard; raises OutputError when it can't be written."""
        # A sample that is no text, as an image, is named by its kind.
        row = json.dumps({"kind": kind, "step": step, **values}, default=str)
        try:
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
                print(row, file=file)
        except OSError as error:
            raise OutputError(f"can't write {self.folder / 'log.jsonl'}: {error.strerror}") from error
        if kind == "scalars":
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)
        if "tflops" in values:
            if step - self.shown < self.every:
                return
            self.shown = step
            values = {**values, "share_of_peak": values["tflops"] / self.peak}
        log.info("step %d %s", step, "  ".join(f"{k} {_short(v)}" for k, v in values.items()))

    def close(self) -> None:
        """Write what TensorBoard still holds back."""
        self.writer.close()


def peak_tflops(device: torch.device) -> float:
    """The device's own matrix rate in TFLOP/s, measured: bf16 on an accelerator, float32 on a CPU."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        _wait(device)
        began = time.monotonic()
        a @ b
        _wait(device)
        best = min(best, time.monotonic() - began)
    return 2 * size**3 / best / 1e12


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else brief(value)
