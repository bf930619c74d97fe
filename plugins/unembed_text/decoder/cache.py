"""What a decoder has written so far, for all beams of a row together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unembed_text.decoder.layers import DecoderWeights

__all__ = ["Cache", "KeyValues", "SlotLayout", "StepWeights", "reordered"]

KeyValues = list[tuple[Tensor, Tensor]]  # a pair of keys and values for each block


@dataclass(frozen=True)
class SlotLayout:
    """Where the tokens of `beams` texts a row, up to `length` tokens long, lie in a row's buffers.

    A slot holds one token of one beam: the first token, which all beams share, then those of each position together.
    """

    beams: int
    length: int

    @property
    def block_size(self) -> int:
        """Slots are attended to in multiples of so many: few different shapes, with sides that matrix units like."""
        return 8 * self.beams

    @property
    def slots(self) -> int:
        """How many there are, in whole blocks."""
        return self.up_to_block(1 + (self.length - 1) * self.beams)

    def up_to_block(self, filled: int) -> int:
        """`filled` slots rounded up to whole blocks."""
        return -(-filled // self.block_size) * self.block_size

    def positions(self, device: torch.device) -> Tensor:
        """The position `[slots]` of the token in each slot."""
        return (torch.arange(self.slots, device=device) + self.beams - 1) // self.beams


@dataclass(frozen=True)
class StepWeights:
    """What a decoding step reads of the network: looked up once a search, not once a token."""

    blocks: list[DecoderWeights]
    bias: Tensor  # [1, H, length, length], of the attention to what was written


@dataclass
class Cache:
    """Keys and values of the decoder's attentions: to what it wrote, and to the encoder.

    Beams of a row share its buffers: a slot holds one token of one beam, and `ancestry` says which slots are
    a beam's own past. So beams that change places move no keys or values.
    """

    layout: SlotLayout
    self_kv: KeyValues  # [R, H, slots, d], filled from the left
    cross_kv: KeyValues  # [R, H, S, d]
    mask: Tensor  # [R, 1, 1, S] additive
    ancestry: Tensor  # [R, beams so far, slots] bool
    positions: Tensor  # [slots], of the tokens in them
    weights: StepWeights
    filled: int = 0  # slots
    length: int = 0  # tokens of each text

    def reorder(self, parent: Tensor) -> None:
        """Beam i of each row becomes a child of beam `parent[row, i]`; `parent` is `[R, beams]`."""
        self.ancestry = reordered(self.ancestry, parent)

    def compact(self, rows: Tensor) -> None:
        """Drop the rows that the mask `[R]` leaves out."""
        self.self_kv = [(key[rows], value[rows]) for key, value in self.self_kv]
        self.cross_kv = [(key[rows], value[rows]) for key, value in self.cross_kv]
        self.mask = self.mask[rows]
        self.ancestry = self.ancestry[rows]


def reordered(ancestry: Tensor, parent: Tensor) -> Tensor:
    """Of children of the beams `parent` `[R, beams]`, given that of the beams before, `[R, B, slots]`."""
    return ancestry.gather(1, parent[..., None].expand(-1, -1, ancestry.shape[2]))
