"""The checkpoint of a network for prompts, and the inverter that it opens as."""

from pathlib import Path
from typing import Any

import torch

from unembed.checkpoints.manifest import EmbedderEntry, Manifest, Storage, network_config
from unembed.checkpoints.tensors import check_fit, load_checkpoint, save_checkpoint
from unembed.engine.effort import Effort
from unembed.engine.limits import Limits
from unembed.engine.moves import Correct, Edit
from unembed.errors import EmbedderMismatchError, InputError, brief
from unembed.inversion.inverter import Inverter
from unembed.registry.opening import load_embedder
from unembed_lm.embedders.base import PromptEmbedder
from unembed_lm.methods.logprobs.network import PromptNetwork
from unembed_lm.methods.logprobs.proposers import PromptCorrector, PromptEditor, PromptHypothesizer, Writer
from unembed_lm.methods.logprobs.shape import PromptShape
from unembed_text.toolkit import store_weights, text_metrics

__all__ = ["build_inverter", "build_network", "check_model", "open_checkpoint", "save_network"]

# With many corrections of each, those of one prompt would fill the beam: only the best of them may.
EFFORTS = {
    name: Effort(
        moves=(Correct(count=count, keep=1), Edit(count=16, elite=2, keep=2)),
        elite=2,
        limits=Limits(steps=30, patience=6, max_queries=5000),
    )
    for name, count in (("high", 16), ("max", 64))
}


def build_network(config: dict[str, Any]) -> PromptNetwork:
    """An untrained network from a manifest's `config`, a `PromptShape`."""
    return PromptNetwork(
        config["t5"],
        tied=config["tied"],
        tokens=len(config["tokens"]),
        rank=config["rank"],
        steps=config["steps"],
        first=config["first"],
        positions=config["positions"],
        hidden=config["hidden"],
        vocabulary=config["vocabulary"],
    )


def build_inverter(name: str, network: PromptNetwork, embedder: PromptEmbedder, length: int) -> Inverter:
    """Bundle a network with the model whose prompts it writes."""
    width, steps = embedder.codec.width, embedder.layout.steps
    writer = Writer(network, width=width, steps=steps, length=min(length, width), forced=embedder.forces)
    return Inverter(
        name=name,
        embedder=embedder,
        hypothesizer=PromptHypothesizer(writer),
        corrector=PromptCorrector(writer),
        codec=embedder.codec,
        editor=PromptEditor(writer),
        metrics=text_metrics(),
        efforts=EFFORTS,
        longest=min(length, width),
    )


def save_network(
    folder: Path,
    network: PromptNetwork,
    embedder: PromptEmbedder,
    *,
    name: str,
    embedder_name: str,
    config: dict[str, Any],
    training: dict[str, Any],
    storage: Storage = "float16",
) -> None:
    """Write a checkpoint of `network`; `config` is a `PromptShape`."""
    manifest = Manifest(
        modality="prompt",
        method="logprobs",
        name=name,
        config=config,
        embedder=EmbedderEntry(name=embedder_name),
        training=training,
    )
    inverter = build_inverter(name, network, embedder, config["length"])
    tensors = {key: value for key, value in network.state_dict().items() if key not in _repeated(network)}
    save_checkpoint(folder, tensors, manifest, inverter=inverter, storage=storage)


def open_checkpoint(folder: Path, manifest: Manifest, device: torch.device, embedder: Any = None) -> Inverter:
    """Build the inverter of a prompt checkpoint; `embedder` is another way to its model, a `PromptEmbedder`."""
    shape = network_config(PromptShape, manifest, folder)
    tensors = load_checkpoint(folder, manifest)[1]
    check_fit(lambda: build_network(manifest.config), tensors, folder, aliases=_repeated_by(shape).__contains__)
    network = build_network(manifest.config)
    network.load_state_dict(tensors, strict=False)
    network.decoder.tie()
    network.ids.index()
    network.to(device).eval()
    store_weights(network, device)
    box = load_embedder(manifest.embedder.name, device=device) if embedder is None else embedder
    if not isinstance(box, PromptEmbedder):
        raise InputError(f"{folder} inverts a language model's probabilities; {brief(repr(box))} is no such model")
    check_model(box, shape, folder)
    return build_inverter(manifest.name, network, box, shape.length)


def check_model(box: PromptEmbedder, shape: PromptShape, place: Path) -> None:
    """Raise EmbedderMismatchError for a model with other tokens than a network of that shape reads and writes."""
    if box.tokens != tuple(shape.tokens):
        raise EmbedderMismatchError(
            f"{place} reads the log-ratios of {len(shape.tokens)} tokens, and {box.name!r} gives those of "
            f"{len(box.tokens)} others; leave out its options tokens and seed, or name the model that it was trained on"
        )
    if len(box.tokenizer) > shape.vocabulary:
        raise EmbedderMismatchError(
            f"{place} was trained for a vocabulary of {shape.vocabulary} tokens; {box.name!r} has {len(box.tokenizer)}"
        )


def _repeated(network: PromptNetwork) -> frozenset[str]:
    return frozenset({"decoder.lm_head.weight"} if network.decoder.tied else ())


def _repeated_by(shape: PromptShape) -> frozenset[str]:
    return frozenset({"decoder.lm_head.weight"} if shape.tied else ())
