"""The checkpoint of a closed-loop text network, and the inverter that it opens as."""

import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed import __version__
from unembed.checkpoints.fingerprint import fingerprint
from unembed.checkpoints.manifest import Manifest
from unembed.checkpoints.tensors import load_checkpoint, save_checkpoint
from unembed.contract.embedder import Embedder
from unembed.engine.effort import Effort
from unembed.errors import CheckpointError
from unembed.inversion.inverter import Inverter
from unembed_text.codecs.wordpiece import TextCodec
from unembed_text.embedders.local import OverTexts, text_embedder
from unembed_text.methods.closed.network import InversionNetwork, Special, stored_for
from unembed_text.methods.closed.proposers import NetworkCorrector, NetworkEditor, NetworkHypothesizer
from unembed_text.metrics import text_metrics

__all__ = ["build_inverter", "build_network", "open_checkpoint", "save_network"]

# With many corrections of each, those of one text would fill the beam.
EFFORTS = {
    name: Effort(steps=30, beam=8, branch=branch, edits=16, elite=2, patience=6, max_queries=5000, siblings=1)
    for name, branch in (("high", 16), ("max", 64))
}


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
    from unembed.registry.opening import load_embedder

    _, tensors = load_checkpoint(folder)
    network = build_network(manifest.config)
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    missing = [key for key in missing if key not in _ALIASES]
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


def _own_tensors(network: InversionNetwork) -> dict[str, Tensor]:
    return {key: value for key, value in network.state_dict().items() if key not in _ALIASES}
