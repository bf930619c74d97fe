"""The base's proposers, aimed through the map at another embedder's vectors."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.contract.proposers import Corrector, Hypothesizer
from unembed_text.methods.adapted.fitting import SpaceMap, radial_kernel

__all__ = ["Aim", "AimedCorrector", "AimedHypothesizer"]

NOISE = 0.1  # of what is seen at a hypothesis, relative to what the map is off by
KEPT = 20_000  # of the base's vectors: a search meets its best candidates round after round


@dataclass(frozen=True)
class Aim:
    """Where a vector of the new embedder lies in the base's space.

    The map is off alike for texts that are alike. What it is off by at a hypothesis is known: the new embedder was
    asked, and the base's, which runs here, tells where the hypothesis really lies. So the map is corrected by what was
    seen at the best hypotheses, as a Gaussian process is by observations: the nearer they come, the less is left of
    its error. `embed` is the base's embedder, signals to `[N, B]`; no query of the black box is counted for it.
    """

    map: SpaceMap
    embed: Callable[[Tensor], Tensor]
    _known: dict[bytes, Tensor] = field(default_factory=dict, repr=False)

    def locate(self, signals: Tensor) -> Tensor:
        """Signals `[N, …]` in the base's space, `[N, B]`."""
        keys = [row.tobytes() for row in signals.cpu().numpy()]
        missing = list(dict.fromkeys(key for key in keys if key not in self._known))
        if missing:
            if len(self._known) + len(missing) > KEPT:
                self._known.clear()
                missing = list(dict.fromkeys(keys))
            place = {key: row for row, key in enumerate(keys)}
            found = self.embed(signals[[place[key] for key in missing]])
            self._known.update(zip(missing, F.normalize(found, dim=-1).cpu(), strict=True))
        return torch.stack([self._known[key] for key in keys]).to(signals.device)

    def estimate(self, target: Tensor, signals: Tensor, embeddings: Tensor, count: Tensor) -> Tensor:
        """Targets `[N, A]` in the base's space, `[N, B]`, by the first `count` `[N]` of K hypotheses of each.

        Those are `signals` `[N, K, …]` with what the new embedder answered, `embeddings` `[N, K, A]`.
        """
        seen = torch.arange(signals.shape[1], device=count.device) < count[:, None]
        off = target.new_zeros(*seen.shape, len(self.map.origin))
        off[seen] = self.locate(signals[seen]) - self.map(embeddings[seen])
        unit, wanted = F.normalize(embeddings, dim=-1), F.normalize(target, dim=-1)
        kernel = radial_kernel(unit, unit, self.map.scale) * (seen[:, :, None] & seen[:, None, :])
        kernel = kernel + NOISE * torch.eye(len(kernel[0]), device=kernel.device) + torch.diag_embed((~seen).float())
        near = radial_kernel(wanted[:, None], unit, self.map.scale)[:, 0] * seen
        shares = torch.linalg.solve(kernel, near[..., None])
        located: Tensor = self.map(target) + (shares * off).sum(1)
        return located


class AimedHypothesizer(Hypothesizer):
    """What the base guesses for the mapped target."""

    def __init__(self, base: Hypothesizer, aim: Aim) -> None:
        self.base, self.aim = base, aim

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return self.base.hypothesize(self.aim.map(target), count, generator)


class AimedCorrector(Corrector):
    """What the base makes of a hypothesis for the target as it is estimated by that hypothesis alone."""

    def __init__(self, base: Corrector, aim: Aim) -> None:
        self.base, self.aim = base, aim

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        one = torch.ones(len(target), dtype=torch.long, device=target.device)
        wanted = self.aim.estimate(target, hypothesis[:, None], embedding[:, None], one)
        return self.base.correct(wanted, hypothesis, self.aim.locate(hypothesis), count, generator)
