"""What the manifest of a prompt checkpoint says about its network, with bounds."""

from typing import Annotated

from pydantic import Field, model_validator

from unembed.config import Config
from unembed_text.toolkit import T5Shape

__all__ = ["PromptShape"]


class PromptShape(Config):
    """`config` of a network for prompts.

    `tokens` are the ids whose log-ratios it reads, `rank` how many directions of them; `vocabulary` counts the ids of
    the model; `length` tokens are the most that it writes; `steps` are those of an answer that it was trained on.
    """

    t5: T5Shape
    tied: bool
    tokens: list[Annotated[int, Field(ge=0, le=2**24)]] = Field(min_length=2, max_length=2**20)
    rank: int = Field(gt=0, le=2**20)
    steps: int = Field(gt=0, le=1_024)
    first: int = Field(gt=0, le=4_096)
    positions: int = Field(gt=0, le=4_096)
    hidden: int = Field(gt=0, le=2**20)
    vocabulary: int = Field(gt=0, le=2**24)
    length: int = Field(gt=0, le=8_192)

    @model_validator(mode="after")
    def _sizes_fit(self) -> "PromptShape":
        if self.rank > len(self.tokens):
            raise ValueError(f"rank: {self.rank} directions are too many for {len(self.tokens)} tokens")
        if max(self.tokens) >= self.vocabulary:
            raise ValueError("tokens name an id that the vocabulary doesn't have")
        return self
