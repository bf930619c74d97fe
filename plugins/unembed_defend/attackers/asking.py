"""The attacker who asks what would be stored: the black box "embedder, then defence", and the inverter aimed at it.

An exact text has a similarity of 1 whatever the defence loses, as long as it draws no noise. The network takes vectors
of the embedder's own width: a map back, fitted to pairs of other texts by regularised least squares (see
`unembed_text.methods.adapted.fitting`), gives them, and is corrected in the search by what it is off by at hypotheses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unembed import Inverter, cosine
from unembed.contract.defence import Defence
from unembed.contract.embedder import Embedder
from unembed.contract.proposers import Hypothesizer, Part
from unembed_defend.attackers.seen import noise_of, unit
from unembed_text.methods.adapted.checkpoint import aimed
from unembed_text.methods.adapted.fitting import fit_map
from unembed_text.methods.adapted.proposers import Aim

__all__ = ["Asked", "attack_on", "repeatable"]


ALIKE = 0.999  # cosine from which vectors are inverted as they are, and their rounding is read from the digits


@dataclass(frozen=True)
class Asked:
    """The inverter of what is stored, and what is told to its search (`precision`).

    `surprisal`, where the inverter has one, takes stored vectors and signals; `cosine` is that of mapped and clean
    vectors of texts that the map wasn't fitted to, 1 where none is needed.
    """

    inverter: Inverter
    precision: str | None
    surprisal: Part | None
    cosine: float


class DefendedEmbedder(Embedder):
    """What is stored of signals: an embedder's vectors after a fitted defence that draws no noise."""

    def __init__(self, embedder: Embedder, defence: Defence, width: int) -> None:
        super().__init__(
            name=f"{embedder.name}, {defence.name}",
            modality=embedder.modality,
            dimension=width,
            normalized=False,
            device=embedder.device,
        )
        self._embedder, self._defence = embedder, defence

    def _embed(self, signals: Tensor) -> Tensor:
        return self._defence.apply(self._embedder.embed(signals))


class ToldHypothesizer(Hypothesizer):
    """A first guess by parts that were told of the noise of their targets."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._guess = parts["guess"]

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return self._guess(target, count, generator)


def repeatable(defence: Defence, clean: Tensor) -> bool:
    """Whether a fitted defence makes the same of the same vectors again, so that what it makes can be asked for."""
    few = clean[:8]
    return torch.equal(defence.apply(few, 1), defence.apply(few, 2))


def attack_on(base: Inverter, defence: Defence | None, public: Tensor, *, seed: int = 0) -> Asked:
    """The attack on vectors that `defence`, fitted, makes of the base's; of clean ones where there is none.

    `public` `[P, D]` are clean vectors of other texts, which the attacker makes pairs of. The network is told how far
    the mapped vectors are off where it learned to be; its corrections aren't, since they aim at better estimates.
    """
    parts = base.parts
    if defence is None:
        return Asked(base, "float32", parts.get("surprisal"), 1.0)
    stored = defence.apply(public)
    if stored.shape == public.shape and (near := float(cosine(stored, public).mean())) > ALIKE:
        said = (parts | base.told(noise_of(near, base.dimension))).get("surprisal")
        return Asked(base, None, said, near)
    fit = fit_map(stored, unit(public), seed=seed)
    sigma = float(fit.errors.norm(dim=1).mean()) / base.dimension**0.5
    told = parts | base.told(sigma)
    inverter = aimed(
        f"{base.name}, {defence.name}",
        base,
        Aim(fit.map, base.embedder.embed),
        DefendedEmbedder(base.embedder, defence, stored.shape[1]),
        hypothesizer=ToldHypothesizer(told),
    )
    mapped = None if "surprisal" not in told else _after(fit.map, told["surprisal"])
    return Asked(inverter, "float32", mapped, fit.quality.cosine)


def _after(change: Callable[[Tensor], Tensor], said: Part) -> Part:
    return lambda vectors, signals: said(change(vectors), signals)
