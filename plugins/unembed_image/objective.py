"""The losses that an image inverter learns by: the painter's, and its student's on what the black box answered."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unembed_image.losses import balanced, frozen, pixel_distance
from unembed_image.network import ImageNetwork

__all__ = ["ImageObjective"]


@dataclass
class Tally:
    """Means of what was measured since the last reading."""

    seen: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, name: str, value: Tensor) -> None:
        self.seen.setdefault(name, []).append(value.detach())

    def read(self) -> dict[str, float]:
        found = {name: torch.stack(values).mean().item() for name, values in self.seen.items()}
        self.seen.clear()
        return found


class ImageObjective(nn.Module):
    """The painter learns from every target, the student from the photograph or, in a correction, from the hypothesis.

    `pixel` and `student` are their shares in the painter's gradient. The painter learns through a frozen copy of the
    student, so that one backward pass and one optimizer serve both.
    """

    def __init__(self, network: ImageNetwork, *, pixel: float, student: float) -> None:
        super().__init__()
        self.network, self.pixel, self.student = network, pixel, student
        self.tally = Tally()

    def forward(
        self, target: Tensor, signals: Tensor, hypothesis: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        network = self.network
        made = network(target)
        losses = {}
        if self.pixel:
            losses["pixel"] = pixel_distance(balanced(made, self.pixel), signals).mean()
        if self.student:
            losses["seen"] = network.miss(frozen(network.student, balanced(made, self.student)), target).mean()
        if hypothesis is None or embedding is None:
            losses["student"] = network.miss(network.student(signals), target).mean()
        else:
            losses["student_painted"] = network.miss(network.student(hypothesis), embedding).mean()
        for name, value in losses.items():
            self.tally.add(name, value)
        return torch.stack(list(losses.values())).sum()
