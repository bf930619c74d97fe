"""The loss that an image inverter learns by: several, each with its share, and two helpers that learn beside it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unembed_image.losses import Critic, Perceptual, Student, balanced, frozen, pixel_distance
from unembed_image.network import ImageNetwork

__all__ = ["ImageObjective", "Shares"]


@dataclass(frozen=True)
class Shares:
    """The weight of each loss in the painter's gradient; one of 0 isn't computed."""

    pixel: float = 1.0
    perceptual: float = 0.0
    student: float = 0.0
    critic: float = 0.0


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
    """The painter with its losses. Only `painter` is shipped.

    `Student` and `Critic` learn on detached paintings, the painter through frozen copies of them, so that one backward
    pass and one optimizer serve all three.
    """

    def __init__(self, painter: ImageNetwork, *, draws: int, shares: Shares, perceptual: Perceptual | None) -> None:
        super().__init__()
        self.painter, self.draws, self.shares, self.perceptual = painter, draws, shares, perceptual
        self.student = Student(painter.dimension, painter.space) if shares.student else None
        self.critic = Critic() if shares.critic else None
        self.tally = Tally()

    def forward(
        self, target: Tensor, signals: Tensor, hypothesis: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        """The losses, each for the best of `draws` paintings of each row, added up."""
        noise = self._best_noise(target, signals, hypothesis, embedding)
        made: Tensor = self.painter(target, hypothesis, embedding, noise).float()
        losses = {}
        if share := self.shares.pixel:
            losses["pixel"] = pixel_distance(balanced(made, share), signals).mean()
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(balanced(made, self.shares.perceptual).clamp(0, 1), signals)
        if self.student is not None:
            said = frozen(self.student, balanced(made, self.shares.student).clamp(0, 1))
            losses["seen"] = self.student.miss(said, target)
            losses["student"] = self.student.miss(self.student(signals), target)
            if hypothesis is not None and embedding is not None:
                losses["student_painted"] = self.student.miss(self.student(hypothesis), embedding)
        if self.critic is not None:
            losses["unreal"] = -frozen(self.critic, balanced(made, self.shares.critic).clamp(0, 1)).mean()
            losses["critic"] = self.critic.miss(signals, made.detach().clamp(0, 1))
        kind = "guess" if hypothesis is None else "correct"
        for name, value in losses.items():
            self.tally.add(f"{kind}/{name}", value)
        return torch.stack(list(losses.values())).sum()

    def _best_noise(
        self, target: Tensor, signals: Tensor, hypothesis: Tensor | None, embedding: Tensor | None
    ) -> Tensor:
        """No noise or the one of the other draws whose painting comes nearest to the pixels, `[N, noise]`.

        Only the best one learns (as in implicit maximum likelihood estimation, Li and Malik 2018), so the noise comes
        to choose among the images that one embedding may mean, where a mean over all would be grey.
        """
        noises = torch.randn(self.draws, len(target), self.painter.noise, device=target.device)
        noises[0] = 0
        if self.draws == 1:
            return noises[0]
        with torch.no_grad():
            gaps = [pixel_distance(self.painter(target, hypothesis, embedding, noise), signals) for noise in noises]
        torch.clear_autocast_cache()  # weights cast for choosing aren't those that learn
        return noises[torch.stack(gaps).argmin(0), torch.arange(len(target), device=target.device)]
