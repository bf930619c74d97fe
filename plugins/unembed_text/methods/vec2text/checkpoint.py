"""The checkpoint of a pair of networks, and the inverter that it opens as."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed.checkpoints.manifest import EmbedderEntry, Manifest, Storage, network_config
from unembed.checkpoints.tensors import check_fit, load_checkpoint, save_checkpoint
from unembed.engine.effort import EFFORTS
from unembed.inversion.inverter import Inverter
from unembed_text.codecs.t5 import T5Codec
from unembed_text.decoder.convert import migrate_names, store_weights
from unembed_text.decoder.decoder import Special
from unembed_text.embedders.base import TextAdapter, TextEmbedder
from unembed_text.embedders.given import text_embedder
from unembed_text.methods.shapes import PairShape
from unembed_text.methods.vec2text.network import CorrectionNetwork, GuessNetwork, PairNetwork, cut
from unembed_text.methods.vec2text.proposers import LENGTH, Draft, PairCorrector, PairHypothesizer
from unembed_text.metrics import text_metrics
from unembed_text.sources.foreign_tokenizers import read_tokenizer

__all__ = ["build_inverter", "build_pair", "open_checkpoint", "save_pair"]


def _shown(special: Special, codec: T5Codec, tokens: int, signals: Tensor) -> list[str]:
    """What the embedder is asked about: of a first guess without an end, what the corrector will read of it."""
    return codec.decode(cut(signals, special, tokens))


def build_pair(config: Mapping[str, Any]) -> PairNetwork:
    """An untrained pair from a manifest's `config`."""
    special = Special(**config["special"])
    common: dict[str, Any] = {"dimension": config["dimension"], "special": special}
    guess, correction = dict(config["guess"]), dict(config["correction"])
    return PairNetwork(
        GuessNetwork(guess.pop("t5"), **common, **guess),
        CorrectionNetwork(correction.pop("t5"), **common, **correction),
        tokens=config["tokens"],
    )


def load_pair(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device, folder: Path
) -> PairNetwork:
    """The pair of `config` with these tensors; raises CheckpointError that names `folder` where they don't fit."""
    with torch.device("meta"):  # the tensors are its storage
        pair = build_pair(config)
    tensors = migrate_names(tensors)
    check_fit(lambda: pair, tensors, folder, aliases=lambda key: _is_alias(key, pair))
    pair.load_state_dict(tensors, strict=False, assign=True)
    for network in (pair.guess, pair.correction):
        network.decoder.tie()
    return pair.to(device).eval()


def own_tensors(pair: PairNetwork) -> dict[str, Tensor]:
    """All tensors of a pair, each once."""
    return {key: value for key, value in pair.state_dict().items() if not _is_alias(key, pair)}


def _is_alias(key: str, pair: PairNetwork) -> bool:
    network = pair.guess if key.startswith("guess.") else pair.correction
    return network.decoder.tied and key.endswith("lm_head.weight")


def build_inverter(
    name: str, pair: PairNetwork, tokenizer: Any, embedder: TextEmbedder, tokens: int, reader: Any = None
) -> Inverter:
    """Bundle a pair with a text embedder; `reader` is that model's tokenizer where the embedder has none."""
    width = tokens - 1 if embedder.max_tokens is None else embedder.max_tokens
    codec = T5Codec(tokenizer, vocabulary=pair.guess.vocabulary, width=width, reader=embedder.tokenizer or reader)
    return Inverter(
        name=name,
        embedder=TextAdapter(embedder, partial(_shown, pair.guess.special, codec, tokens)),
        hypothesizer=PairHypothesizer(pair.guess, codec, tokens),
        parts={"draft": PairHypothesizer(pair.guess, codec, tokens, min(tokens, LENGTH)).hypothesize},
        efforts={name: replace(effort, start=Draft()) for name, effort in EFFORTS.items()},
        corrector=PairCorrector(pair.correction, codec, tokens),
        codec=codec,
        metrics=text_metrics(),
        longest=tokens - 1,
    )


def save_pair(
    folder: Path,
    pair: PairNetwork,
    tokenizer: Any,
    embedder: TextEmbedder,
    *,
    config: Mapping[str, Any],
    name: str,
    embedder_name: str,
    training: Mapping[str, Any],
    storage: Storage,
) -> None:
    """Write a checkpoint that `unembed.load` opens; `config` is a `PairShape`.

    An API that can't be asked now is saved without a fingerprint, so it can't be told from another later.
    """
    manifest = Manifest(
        modality="text",
        method="vec2text",
        name=name,
        config=dict(config),
        embedder=EmbedderEntry(name=embedder_name),
        training=dict(training),
    )

    def tokenizers(place: Path) -> None:
        tokenizer.save_pretrained(place / "tokenizer")
        if embedder.tokenizer is not None:
            embedder.tokenizer.save_pretrained(place / "reader")

    inverter = build_inverter(name, pair, tokenizer, embedder, config["tokens"])
    save_checkpoint(folder, own_tensors(pair), manifest, inverter=inverter, storage=storage, beside=tokenizers)


def open_checkpoint(folder: Path, manifest: Manifest, device: torch.device, embedder: Any = None) -> Inverter:
    """Build the inverter of a checkpoint; `embedder` is another way to its model."""
    shape = network_config(PairShape, manifest, folder)
    pair = load_pair(manifest.config, load_checkpoint(folder, manifest)[1], device, folder)
    store_weights(pair, device, exact=True)  # now that nothing else holds the tensors
    texts = text_embedder(manifest.embedder.name if embedder is None else embedder, device, shape.dimension)
    reader = read_tokenizer(str(folder / "reader")) if (folder / "reader").is_dir() else None
    tokenizer = read_tokenizer(str(folder / "tokenizer"))
    return build_inverter(manifest.name, pair, tokenizer, texts, shape.tokens, reader)
