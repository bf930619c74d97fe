"""The checkpoint of a closed-loop text network, and the inverter that it opens as."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from unembed.checkpoints.manifest import EmbedderEntry, Manifest, Storage, network_config
from unembed.checkpoints.tensors import check_fit, load_checkpoint, save_checkpoint
from unembed.contract.proposers import Part
from unembed.engine.effort import EXHAUSTIVE, Effort
from unembed.engine.limits import Limits
from unembed.engine.moves import Correct, Edit, Widen
from unembed.errors import CheckpointError
from unembed.inversion.inverter import Inverter
from unembed_text.codecs.wordpiece import TextCodec
from unembed_text.decoder.convert import migrate_names, store_weights
from unembed_text.decoder.decoder import Special
from unembed_text.embedders.given import black_box, text_embedder
from unembed_text.embedders.local import LocalEmbedder
from unembed_text.methods.closed.network import InversionNetwork
from unembed_text.methods.closed.proposers import NetworkCorrector, NetworkEditor, NetworkHypothesizer, surprisal
from unembed_text.methods.shapes import ClosedShape
from unembed_text.metrics import text_metrics

__all__ = ["build_inverter", "build_network", "open_checkpoint", "save_network"]

# With many corrections of each, those of one text would fill the beam: only the best of them may.
EFFORTS = {
    name: Effort(
        moves=(Correct(count=count, keep=1), Edit(count=16, elite=2, keep=2)),
        elite=2,
        limits=Limits(steps=30, patience=6, max_queries=5000),
    )
    for name, count in (("high", 16), ("max", 64))
} | {
    "exhaustive": Effort(
        moves=(Widen(inner=Correct(count=64, keep=1), factors=(1, 2, 4, 8)), Edit(count=16, elite=2, keep=2)),
        elite=2,
        limits=EXHAUSTIVE,
        here=True,
    )
}


def build_network(config: dict[str, Any]) -> InversionNetwork:
    """An untrained network from a manifest's `config`."""
    return InversionNetwork(
        config["t5"],
        dimension=config["dimension"],
        positions=config["positions"],
        hidden=config["hidden"],
        special=Special(**config["special"]),
        surrogate=config.get("student", 0),
    )


def build_inverter(name: str, network: InversionNetwork, embedder: Any, length: int) -> Inverter:
    """Bundle a network with the embedder whose tokens it writes."""
    codec = TextCodec(embedder.tokenizer, embedder.max_tokens)
    width = embedder.max_tokens

    def told(noise: float) -> dict[str, Part]:
        if not network.hears_noise:
            return {}
        guess = NetworkHypothesizer(network, width=width, length=length, noise=noise)
        correct = NetworkCorrector(network, width=width, length=length, noise=noise)
        edit = NetworkEditor(network, width=width, noise=noise)
        said = {"surprisal": partial(surprisal, network, noise=noise)}
        return guess.parts() | correct.parts() | edit.parts("edit") | said

    return Inverter(
        name=name,
        embedder=embedder,
        hypothesizer=NetworkHypothesizer(network, width=width, length=length),
        corrector=NetworkCorrector(network, width=width, length=length),
        codec=codec,
        editor=NetworkEditor(network, width=width),
        parts={"surprisal": partial(surprisal, network)},
        told=told,
        metrics=text_metrics(),
        efforts=EFFORTS,
        longest=length,
    )


def save_network(
    folder: Path,
    network: InversionNetwork,
    embedder: LocalEmbedder,
    *,
    name: str,
    embedder_name: str,
    config: dict[str, Any],
    training: dict[str, Any],
    storage: Storage = "float16",
) -> None:
    """Write a checkpoint of `network`; `config` is a `ClosedShape`."""
    manifest = Manifest(
        modality="text",
        method="closed",
        name=name,
        config=config,
        embedder=EmbedderEntry(name=embedder_name),
        training=training,
    )
    inverter = build_inverter(name, network, embedder, config["length"])
    save_checkpoint(folder, network.state_dict(), manifest, inverter=inverter, storage=storage)


def open_checkpoint(folder: Path, manifest: Manifest, device: torch.device, embedder: Any = None) -> Inverter:
    """Build the inverter of a text checkpoint; `embedder` is another way to its model: see `black_box`."""
    shape = network_config(ClosedShape, manifest, folder)
    tensors = migrate_names(load_checkpoint(folder, manifest)[1])
    check_fit(lambda: build_network(manifest.config), tensors, folder, aliases=_LATER.__contains__)
    network = build_network(manifest.config)
    network.load_state_dict(tensors, strict=False)
    network.to(device).eval()
    store_weights(network, device)
    name = manifest.embedder.name
    own = text_embedder(name, device)
    if not isinstance(own, LocalEmbedder):
        raise CheckpointError(f"{folder}: embedder {name!r} has no tokens to write here; its method should be vec2text")
    inverter = build_inverter(manifest.name, network, own, shape.length)
    if embedder is not None:
        inverter.embedder = black_box(embedder, device, own.dimension, inverter.codec.decode)
    return inverter


_LATER = frozenset({"noise.weight"})  # older checkpoints lack it: it begins as zeros
