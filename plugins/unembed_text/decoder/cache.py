"""What a decoder has written so far, for all beams of a row together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unembed_text.decoder.blocks import Weights
from unembed_text.decoder.graphs import Follow, Pairs, Recording, reordered

__all__ = ["Cache"]


@dataclass
class Cache:
    """Keys and values of the decoder: its own, and the encoder's, one pair a layer.

    Beams of a row share its buffers: a slot holds one token of one beam, and `lineage` says which slots are
    a beam's own past. So beams that change places move no keys or values.
    """

    own: Pairs  # [R, H, slots, d], filled from the left
    cross: Pairs  # [R, H, S, d]
    mask: Tensor  # [R, 1, 1, S] additive
    places: Tensor  # [slots], the position of each slot
    lineage: Tensor  # [R, beams so far, slots] bool
    beams: int
    weights: list[Weights]  # of the decoder's blocks
    biases: Tensor  # [1, H, length, length], of its attention to itself
    follow: Follow | None = None
    recording: Recording | None = None  # of the turns, with keys, values and biases in its own buffers
    filled: int = 0
    length: int = 0
    asked: tuple[Tensor, torch.cuda.Event] | None = None  # a count of rows that is on its way from a GPU

    def reorder(self, parent: Tensor) -> None:
        """Beam i of each row becomes a child of beam `parent[row, i]`; `parent` is `[R, beams]`."""
        self.lineage = reordered(self.lineage, parent)

    @property
    def granule(self) -> int:
        """Slots are attended to in multiples of so many: few different shapes, with sides that matrix units like."""
        return 8 * self.beams

    def going(self, done: Tensor) -> int | None:
        """How many rows are still written, if known now; `done` `[R]` or `[R, beams]` says which have ended.

        A GPU is asked every fourth token and answers when the next one is under way: waiting would leave it idle.
        """
        asked, self.asked = self.asked, None
        if asked is not None:
            count, answered = asked
            answered.synchronize()
            return int(count)
        if done.is_cuda and self.length % 4:
            return None
        left = (~(done if done.ndim == 1 else done.all(1))).sum()
        if not done.is_cuda:
            return int(left)
        count = torch.empty((), dtype=left.dtype, device="cpu", pin_memory=True).copy_(left, non_blocking=True)
        self.asked = count, torch.cuda.Event()
        self.asked[1].record()
        return None

    def worth_keeping(self, left: int) -> bool:
        """Whether `keep` saves more than it costs when `left` rows are still going."""
        rows = len(self.lineage)
        return self.recording is None and left <= (rows * 3 // 4 if self.lineage.is_cuda else rows - 1)

    def keep(self, rows: Tensor) -> None:
        """Drop the rows that the mask `[R]` leaves out."""
        self.own = [(key[rows], value[rows]) for key, value in self.own]
        self.cross = [(key[rows], value[rows]) for key, value in self.cross]
        self.mask = self.mask[rows]
        self.lineage = self.lineage[rows]
