"""The checkpoint of a pair of networks, and the inverter that it opens as."""

import platform
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed import __version__
from unembed.checkpoints.fingerprint import fingerprint
from unembed.checkpoints.manifest import Manifest
from unembed.checkpoints.tensors import load_checkpoint, save_checkpoint
from unembed.errors import CheckpointError
from unembed.inversion.inverter import Inverter
from unembed_text.codecs.t5 import T5Codec
from unembed_text.embedders.encoders import read_tokenizer
from unembed_text.embedders.local import OverTexts, TextEmbedder, text_embedder
from unembed_text.methods.closed.network import Special, stored_for
from unembed_text.methods.vec2text.network import CorrectionNetwork, GuessNetwork, PairNetwork, cut
from unembed_text.methods.vec2text.proposers import PairCorrector, PairHypothesizer
from unembed_text.metrics import text_metrics

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


def load_pair(config: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device) -> PairNetwork:
    """The pair of `config` with these tensors; raises CheckpointError for one missing or too many."""
    with torch.device("meta"):  # the tensors are its storage
        pair = build_pair(config)
    missing, unexpected = pair.load_state_dict(tensors, strict=False, assign=True)
    missing = [key for key in missing if not _is_alias(key, pair)]
    if missing or unexpected:
        raise CheckpointError(f"the networks lack tensors {missing} and don't have {unexpected}")
    for network in (pair.guess, pair.correction):
        if network.tied:
            network.t5.lm_head.weight = network.t5.shared.weight
    return pair.to(device).eval()


def own_tensors(pair: PairNetwork) -> dict[str, Tensor]:
    """All tensors of a pair, each once."""
    return {key: value for key, value in pair.state_dict().items() if not _is_alias(key, pair)}


def _is_alias(key: str, pair: PairNetwork) -> bool:
    network = pair.guess if key.startswith("guess.") else pair.correction
    return key.endswith("embed_tokens.weight") or (network.tied and key.endswith("lm_head.weight"))


def build_inverter(
    name: str, pair: PairNetwork, tokenizer: Any, embedder: TextEmbedder, tokens: int, reader: Any = None
) -> Inverter:
    """Bundle a pair with a text embedder; `reader` is that model's tokenizer where the embedder has none."""
    vocabulary = pair.guess.t5.config.vocab_size
    width = tokens - 1 if embedder.max_tokens is None else embedder.max_tokens
    codec = T5Codec(tokenizer, vocabulary=vocabulary, width=width, reader=embedder.tokenizer or reader)
    return Inverter(
        name=name,
        embedder=OverTexts(embedder, partial(_shown, pair.guess.special, codec, tokens)),
        hypothesizer=PairHypothesizer(pair.guess, codec, tokens),
        corrector=PairCorrector(pair.correction, codec, tokens),
        codec=codec,
        metrics=text_metrics(),
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
    quality: Mapping[str, Any],
    storage: str,
) -> None:
    """Write a checkpoint that `unembed.load` opens; `config` is what `build_pair` reads, with `tokens` beside it.

    An API that can't be asked now is saved without a fingerprint, so it can't be told from another later.
    """
    over = build_inverter(name, pair, tokenizer, embedder, config["tokens"])
    found = fingerprint(over.embedder, over.codec) if embedder.available else None
    manifest = Manifest(
        modality="vec2text",
        name=name,
        config=dict(config),
        embedder={"name": embedder_name, "dimension": embedder.dimension, "fingerprint": found},
        versions={"unembed": __version__, "torch": torch.__version__, "python": platform.python_version()},
        training=dict(training),
        quality=dict(quality),
    )

    def tokenizers(place: Path) -> None:
        tokenizer.save_pretrained(place / "tokenizer")
        if embedder.tokenizer is not None:
            embedder.tokenizer.save_pretrained(place / "reader")

    save_checkpoint(folder, own_tensors(pair), manifest, storage=storage, beside=tokenizers)


def open_checkpoint(folder: Path, manifest: Manifest, device: torch.device) -> Inverter:
    """Build the inverter of a checkpoint, its embedder included."""
    try:
        pair = load_pair(manifest.config, load_checkpoint(folder)[1], device)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    stored_for(device, pair, exact=True)  # now that nothing else holds the tensors
    embedder = text_embedder(manifest.embedder["name"], device)
    reader = read_tokenizer(str(folder / "reader")) if (folder / "reader").is_dir() else None
    tokenizer = read_tokenizer(str(folder / "tokenizer"))
    return build_inverter(manifest.name, pair, tokenizer, embedder, int(manifest.config["tokens"]), reader)
