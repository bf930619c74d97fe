"""What the manifests of text checkpoints say about their networks, with bounds."""

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from unembed.config import Config

__all__ = ["ClosedShape", "HalfShape", "PairShape", "T5Shape"]


class T5Shape(Config):
    """A T5's config, of which only these keys say anything about the network."""

    model_config = ConfigDict(extra="allow")

    vocab_size: int = Field(gt=0, le=2**24)
    d_model: int = Field(gt=0, le=65_536)
    d_kv: int = Field(gt=0, le=4_096)
    d_ff: int = Field(gt=0, le=2**20)
    num_layers: int = Field(gt=0, le=1_000)
    num_decoder_layers: int | None = Field(None, gt=0, le=1_000)
    num_heads: int = Field(gt=0, le=4_096)
    relative_attention_num_buckets: int = Field(32, gt=0, le=65_536)
    relative_attention_max_distance: int = Field(128, gt=0, le=2**20)
    feed_forward_proj: Literal["relu", "gated-gelu"] = "relu"
    layer_norm_epsilon: Literal[1e-6] = 1e-6  # type: ignore[valid-type]  # pydantic compares numbers too
    dropout_rate: float = Field(0.1, ge=0, lt=1)


class SpecialIds(Config):
    """Ids of padding, the decoder's start and its end."""

    pad: int = Field(ge=0)
    start: int = Field(ge=0)
    end: int = Field(ge=0)


def _known(special: SpecialIds, t5: T5Shape) -> None:
    if max(special.pad, special.start, special.end) >= t5.vocab_size:
        raise ValueError("special names an id that the vocabulary doesn't have")


class ClosedShape(Config):
    """`config` of a closed-loop network; `length` tokens are the most that it writes."""

    t5: T5Shape
    dimension: int = Field(gt=0, le=2**20)
    positions: int = Field(gt=0, le=4_096)
    hidden: int = Field(gt=0, le=2**20)
    special: SpecialIds
    length: int = Field(gt=0, le=65_536)
    student: int = Field(0, ge=0, le=1_000)

    @model_validator(mode="after")
    def _special_is_known(self) -> "ClosedShape":
        _known(self.special, self.t5)
        return self


class HalfShape(Config):
    """One network of a pair; the last two are a corrector's."""

    t5: T5Shape
    positions: int = Field(gt=0, le=4_096)
    hidden: int = Field(gt=0, le=2**20)
    tied: bool
    feedback: bool = True
    layernorm: bool = True


class PairShape(Config):
    """`config` of a pair; `tokens` are those of the texts that it was trained on, the end among them."""

    dimension: int = Field(gt=0, le=2**20)
    tokens: int = Field(ge=2, le=65_536)
    special: SpecialIds
    guess: HalfShape
    correction: HalfShape

    @model_validator(mode="after")
    def _special_is_known(self) -> "PairShape":
        for half in (self.guess, self.correction):
            _known(self.special, half.t5)
        return self
