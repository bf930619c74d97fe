"""What is often taken for a defence: shorter vectors, texts removed."""

import torch
from torch import Tensor

from unembed.contract.defence import Defence
from unembed_defend.defences.parameters import above_zero, no_parameter

__all__ = ["clip", "drop_text"]

GRANTED = "Everything; there is no secret."


class _Clipped(Defence):
    def __init__(self, name: str, most: float) -> None:
        super().__init__(name=name, granted=GRANTED)
        self._most = most

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        factor: Tensor = (self._most / vectors.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp_max(1.0)
        return vectors * factor


class _WithoutText(Defence):
    def __init__(self) -> None:
        super().__init__(name="drop-text", granted="The vectors and their ids, no text: what an inverter needs.")

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        return vectors


def clip(argument: str) -> Defence:
    """`clip:NORM`: longer vectors are scaled to NORM."""
    return _Clipped(f"clip:{argument}", above_zero("clip", argument, "NORM", what="a length"))


def drop_text(argument: str) -> Defence:
    """`drop-text`: the texts are deleted, the vectors and their ids stay."""
    no_parameter("drop-text", argument)
    return _WithoutText()
