"""The network as hypothesizer and corrector, and its checkpoint."""

import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed import __version__
from unembed.checkpoint import Manifest, load_checkpoint, save_checkpoint
from unembed.effort import Effort
from unembed.errors import CheckpointError
from unembed.fingerprinting import fingerprint
from unembed.interfaces import Corrector, Embedder, Hypothesizer
from unembed.inverter import Inverter
from unembed_text.codec import TextCodec
from unembed_text.edits import edits
from unembed_text.embedders import OverTexts, text_embedder
from unembed_text.generation import beam_search, padded
from unembed_text.metrics import text_metrics
from unembed_text.network import InversionNetwork, Special, stored_for
from unembed_text.screening import SEEDS, screened_edits

__all__ = ["build_inverter", "build_network", "open_checkpoint", "save_network"]

BROAD = 32  # from so many corrections of a text on, beam search's later ones are all alike
# With many corrections of each, those of one text would fill the beam.
EFFORTS = {
    name: Effort(steps=30, beam=8, branch=branch, edits=16, elite=2, patience=6, max_queries=5000, siblings=1)
    for name, branch in (("high", 16), ("max", 64))
}


class NetworkHypothesizer(Hypothesizer):
    """Beam search from the target alone."""

    def __init__(self, network: InversionNetwork, *, width: int, length: int) -> None:
        self.network, self.width, self.length = network, width, length

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return _search(self.network, target, None, None, count, self.length, self.width)


class NetworkCorrector(Corrector):
    """Beam search from the target, a hypothesis and its embedding; from `BROAD` corrections on half are sampled."""

    def __init__(self, network: InversionNetwork, *, width: int, length: int) -> None:
        self.network, self.width, self.length = network, width, length

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        given = (target, hypothesis, embedding)
        return _search(self.network, *given, count, self.length, self.width, sampled=count >= BROAD)


class NetworkEditor(Corrector):
    """Edits of a hypothesis: those that the network would rather see, or those that its student finds nearest."""

    def __init__(self, network: InversionNetwork, *, width: int, choices: int = 32) -> None:
        self.network, self.width, self.choices = network, width, choices

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        network = self.network
        hypothesis = _trimmed(hypothesis, network.special.pad)
        # Every token's probability at every place is held for these rows, with a student for their best edits too.
        each = (hypothesis.shape[1] + 1) * len(network.t5.lm_head.weight) * (SEEDS if network.student else 1)
        rows = max(1, 2**27 // each)
        parts = []
        for t, h, e in zip(*(x.split(rows) for x in (target, hypothesis, embedding)), strict=True):
            with network.autocast():
                states, mask = network.encode(t, h, e)
                if network.student is None:
                    parts.append(edits(network, states, mask, h, count=count, choices=self.choices))
                else:
                    found = screened_edits(network, t, h, e, states, mask, count=count, choices=self.choices)
                    parts.append(_trimmed(found, network.special.pad))
        return torch.cat([padded(part[..., : self.width], self.width, network.special.pad) for part in parts])


def _trimmed(hypothesis: Tensor, pad: int) -> Tensor:
    """Without the columns that are padding in every row."""
    return hypothesis[..., : max(1, int((hypothesis != pad).sum(-1).max()))]


def _search(
    network: InversionNetwork,
    target: Tensor,
    hypothesis: Tensor | None,
    embedding: Tensor | None,
    count: int,
    length: int,
    width: int,
    *,
    sampled: bool = False,
) -> Tensor:
    if hypothesis is not None:
        hypothesis = _trimmed(hypothesis, network.special.pad)
    with network.autocast():
        states, mask = network.encode(target, hypothesis, embedding)
        ids = beam_search(network, states, mask, beams=count, length=length, sampled=sampled)
    return padded(ids, width, network.special.pad)


def build_network(config: dict[str, Any]) -> InversionNetwork:
    """An untrained network from a manifest's `config`."""
    return InversionNetwork(
        config["t5"],
        dimension=config["dimension"],
        positions=config["positions"],
        hidden=config["hidden"],
        special=Special(**config["special"]),
        student=config.get("student", 0),
    )


def build_inverter(name: str, network: InversionNetwork, embedder: Any, length: int) -> Inverter:
    """Bundle a network with the embedder whose tokens it writes."""
    codec = TextCodec(embedder.tokenizer, embedder.max_tokens)
    parts = {"width": embedder.max_tokens, "length": length}
    return Inverter(
        name=name,
        embedder=embedder,
        hypothesizer=NetworkHypothesizer(network, **parts),
        corrector=NetworkCorrector(network, **parts),
        codec=codec,
        editor=NetworkEditor(network, width=embedder.max_tokens),
        metrics=text_metrics(),
        efforts=EFFORTS,
    )


def save_network(
    folder: Path,
    network: InversionNetwork,
    embedder: Embedder,
    *,
    name: str,
    embedder_name: str,
    config: dict[str, Any],
    training: dict[str, Any],
    quality: dict[str, Any],
    storage: str = "float16",
) -> None:
    """Write a checkpoint of `network`; `config` is what `build_network` reads, with `length` beside it."""
    codec = TextCodec(embedder.tokenizer, embedder.max_tokens)  # type: ignore[attr-defined]
    versions = {"unembed": __version__, "torch": torch.__version__, "python": platform.python_version()}
    manifest = Manifest(
        modality="text",
        name=name,
        config=config,
        embedder={
            "name": embedder_name,
            "dimension": embedder.dimension,
            "fingerprint": fingerprint(embedder, codec),
        },
        versions=versions,
        training=training,
        quality=quality,
        tensors={},
    )
    save_checkpoint(folder, _own_tensors(network), manifest, storage=storage)


def open_checkpoint(folder: Path, manifest: Manifest, device: torch.device) -> Inverter:
    """Build the inverter of a text checkpoint, its embedder included."""
    from unembed.registry import load_embedder

    _, tensors = load_checkpoint(folder)
    network = build_network(manifest.config)
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    missing = [key for key in missing if key not in _ALIASES | _LATER]
    if missing or unexpected:
        raise CheckpointError(f"{folder}: missing tensors {missing}, unexpected {unexpected}")
    network.to(device).eval()
    stored_for(device, network)
    name = manifest.embedder["name"]
    own = load_embedder(manifest.embedder.get("own", name), device=device)
    inverter = build_inverter(manifest.name, network, own, int(manifest.config["length"]))
    if "own" in manifest.embedder:  # another way to the same model: it is asked by text
        inverter.embedder = OverTexts(text_embedder(name, device), inverter.codec.decode)
    return inverter


_ALIASES = frozenset({"t5.encoder.embed_tokens.weight", "t5.decoder.embed_tokens.weight"})
_LATER = frozenset({"noise.weight"})  # which older checkpoints lack: it begins as zeros


def _own_tensors(network: InversionNetwork) -> dict[str, Tensor]:
    return {key: value for key, value in network.state_dict().items() if key not in _ALIASES}
