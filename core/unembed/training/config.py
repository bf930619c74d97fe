"""The training config: what any method's training has in common."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from unembed.config import Config

__all__ = ["TrainConfig"]


class TrainConfig(Config):
    """`[recipe]` belongs to the method, which checks it; the rest is here."""

    method: str = Field(description="what is trained, as `unembed plugins` lists it; a modality's name is its own one")
    output: Path
    recipe: dict[str, Any] = {}
    seed: int = Field(0, ge=0, lt=2**63)
    steps: int = Field(10_000, gt=0, le=10**12, description="optimizer steps in all")
    round_steps: int = Field(
        32, gt=0, le=1_000_000, description="optimizer steps for which hypotheses are made at once"
    )
    rate: float = Field(1e-2, gt=0, description="step size relative to each tensor's RMS")
    warmup: int = Field(300, ge=1)
    decay: float = Field(0.3, ge=0, le=1, description="share of the steps over which the rate falls to zero")
    keep_held: bool = Field(False, description="save weights in `held/`, to go on from, before the rate falls")
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    guess_steps: int = Field(2_000, ge=0, description="steps of first guesses alone, before corrections")
    depth: int = Field(
        2, ge=1, le=100, description="hypotheses a target: its first guess, that one's correction, … (vec2text: 1)"
    )
    precision: Literal["no", "bf16", "fp16"] = "no"
    compile: bool = False
    device: str | None = None
    save_every: int = Field(1_000, gt=0)
    evaluate_every: int = Field(2_000, gt=0)
    evaluate_steps: int = Field(1, ge=0, le=10_000)
    evaluate_beam: int = Field(1, ge=1, le=1_000)
    log_every: int = Field(50, gt=0)
    total_seconds: float | None = Field(
        None, gt=0, description="training time in all; the schedule then ends by time or by steps, the earlier"
    )
    max_seconds: float | None = Field(None, ge=0, description="save and stop after this long; resume goes on")

    @model_validator(mode="before")
    @classmethod
    def _method_from_modality(cls, data: Any) -> Any:
        """Configs once named the method, or a modality with one method, in `modality`."""
        if not isinstance(data, dict) or "modality" not in data or "method" in data:
            return data
        return {"method": data["modality"], **{key: value for key, value in data.items() if key != "modality"}}

    @field_validator("output", mode="before")
    @classmethod
    def _output_is_named(cls, value: Any) -> Any:
        if isinstance(value, str) and not value.strip():
            raise ValueError("name a folder")
        return value
