"""The network as hypothesizer and corrector, bundled with the black box and the codec."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import unembed
from unembed_molecules.codec import SelfiesCodec
from unembed_molecules.embedder import MorganEmbedder, tanimoto
from unembed_molecules.network import MoleculeNetwork

__all__ = ["build_inverter", "open_checkpoint"]


class Guess(unembed.Hypothesizer):
    """The likeliest molecule, then samples."""

    def __init__(self, network: MoleculeNetwork) -> None:
        self.network = network

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return self.network.write(target, None, None, _warmth(target, count), generator)


class Correct(unembed.Corrector):
    """The likeliest correction, then samples."""

    def __init__(self, network: MoleculeNetwork) -> None:
        self.network = network

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        return self.network.write(target, hypothesis, embedding, _warmth(target, count), generator)


class FingerprintIdentity(unembed.Metric):
    """The share of reconstructions whose fingerprint is the original's, 0 to 1; several molecules can share one."""

    def __init__(self, embedder: MorganEmbedder, codec: SelfiesCodec) -> None:
        self.embedder, self.codec = embedder, codec

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        a, b = (self.embedder.embed(self.codec.encode(molecules)) for molecules in (references, reconstructions))
        return torch.stack([tanimoto(a, b) == 1, torch.ones(len(a))], 1).double()

    def aggregate(self, sums: Tensor) -> float:
        return float(sums[0] / sums[1])


def _warmth(target: Tensor, count: int) -> Tensor:
    """The first is the likeliest; samples differ enough for a step's to be worth their queries."""
    return torch.cat([target.new_zeros(1), torch.linspace(0.5, 1.0, count - 1, device=target.device)])


def build_inverter(name: str, network: MoleculeNetwork, embedder: MorganEmbedder) -> unembed.Inverter:
    """Bundle the parts; the metric has a black box of its own, so that measuring isn't counted as queries."""
    codec = SelfiesCodec()
    return unembed.Inverter(
        name=name,
        embedder=embedder,
        hypothesizer=Guess(network),
        corrector=Correct(network),
        codec=codec,
        metrics={"fingerprint_identity": FingerprintIdentity(MorganEmbedder(counts=embedder.counts), codec)},
    )


def open_checkpoint(
    folder: Path, manifest: unembed.Manifest, device: torch.device, embedder: unembed.Embedder | None
) -> unembed.Inverter:
    """The inverter of a checkpoint folder; `embedder` is asked in place of its own, if there is one."""
    _, tensors = unembed.load_checkpoint(folder, manifest)
    network = MoleculeNetwork(**manifest.config)
    network.load_state_dict(tensors)
    box = embedder or unembed.load_embedder(manifest.embedder.name, device=device)
    return build_inverter(manifest.name, network.to(device).eval(), box)
