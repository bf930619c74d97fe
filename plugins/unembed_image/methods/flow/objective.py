"""The losses that an image inverter learns by: the denoiser's, and the surrogate's on what the black box answered."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unembed_image.networks.network import ImageNetwork

__all__ = ["ImageObjective"]

EARLY = -0.6  # mean of a time's logit: most of an image is decided while there is much noise
LAST = 0.05  # least noise that a loss is divided by


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
    """The denoiser learns from photographs made noisy, the surrogate from photographs or, in a correction, hypotheses.

    The denoiser's loss is that of the flow's velocity (Lipman et al. 2023) for a network that predicts the image.
    """

    def __init__(self, network: ImageNetwork) -> None:
        super().__init__()
        self.network = network
        self.tally = Tally()

    def forward(
        self, target: Tensor, signals: Tensor, hypothesis: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        network = self.network
        losses = {"denoise": self._denoise(target, signals)}
        if hypothesis is None or embedding is None:
            losses["surrogate"] = network.loss(network.predict(signals), target).mean()
        else:
            losses["surrogate_corrected"] = network.loss(network.predict(hypothesis), embedding).mean()
        for name, value in losses.items():
            self.tally.add(name, value)
        return torch.stack(list(losses.values())).sum()

    def _denoise(self, target: Tensor, signals: Tensor) -> Tensor:
        time = (EARLY + torch.randn(len(signals), device=signals.device)).sigmoid()  # Esser et al. 2024
        image, wide = 2 * signals - 1, time[:, None, None, None]
        noisy = torch.lerp(torch.randn_like(image), image, wide)
        gap = self.network.denoiser(noisy, time, self.network.normalize(target)) - image
        loss: Tensor = (gap / (1 - wide).clamp_min(LAST)).pow(2).mean()
        return loss
