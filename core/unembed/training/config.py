"""The training config: what any modality's training has in common."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from unembed.config import Config

__all__ = ["TrainConfig"]


class TrainConfig(Config):
    """`[recipe]` belongs to the modality, which checks it; the rest is here."""

    modality: str
    output: Path
    recipe: dict[str, Any] = {}
    seed: int = 0
    steps: int = Field(10_000, gt=0, description="optimizer steps in all")
    round_steps: int = Field(32, gt=0, description="optimizer steps for which hypotheses are made at once")
    rate: float = Field(1e-2, gt=0, description="step size relative to each tensor's RMS")
    warmup: int = Field(300, ge=1)
    decay: float = Field(0.3, ge=0, le=1, description="share of the steps over which the rate falls to zero")
    keep_held: bool = Field(False, description="save weights in `held/`, to go on from, before the rate falls")
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    guess_steps: int = Field(2_000, ge=0, description="steps of first guesses alone, before corrections")
    depth: int = Field(2, ge=1, description="hypotheses a target: its first guess, that one's correction, …")
    precision: Literal["no", "bf16", "fp16"] = "no"
    compile: bool = False
    device: str | None = None
    save_every: int = Field(1_000, gt=0)
    evaluate_every: int = Field(2_000, gt=0)
    evaluate_steps: int = Field(1, ge=0)
    evaluate_beam: int = Field(1, ge=1)
    log_every: int = Field(50, gt=0)
    total_seconds: float | None = Field(
        None, gt=0, description="training time in all; the schedule then ends by time or by steps, the earlier"
    )
    max_seconds: float | None = Field(None, description="save and stop after this long; resume goes on")
