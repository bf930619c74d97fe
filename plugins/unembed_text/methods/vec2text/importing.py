"""Turning a published vec2text pair, an inversion model and its corrector, into a checkpoint of ours.

Everything about the networks is read off the tensors: the published configs name a T5 on the hub, and say nothing
of its size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed.checkpoints.files import refuse_foreign
from unembed.errors import CheckpointError, InputError, brief
from unembed_text.embedders.base import TextEmbedder
from unembed_text.embedders.given import text_embedder
from unembed_text.embedders.local import LocalEmbedder
from unembed_text.methods.vec2text.checkpoint import load_pair, save_pair
from unembed_text.methods.vec2text.migrations import migrated
from unembed_text.methods.vec2text.published import embedder_name
from unembed_text.sources.foreign_tokenizers import read_tokenizer
from unembed_text.sources.foreign_weights import fetch, read_config, read_weights

__all__ = ["import_pair"]

BLOCK = "encoder.blocks.0."
# The tensors that a network's shape is read off.
KNOWN = (
    "encoder.position_bias.weight",
    f"{BLOCK}attention.q_proj.weight",
    f"{BLOCK}mlp.gate_proj.weight",
    f"{BLOCK}mlp.fc1.weight",
    "decoder.token_embed.weight",
    "target.fc1.weight",
    "target.fc2.weight",
)
BUCKETS = 128  # T5's relative_attention_max_distance, which no tensor shows and no published T5 changes


@dataclass(frozen=True)
class Published:
    """One half of a pair: its folder, its config, its tensors under our names, and its embedder's."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    embedder: dict[str, Tensor]

    @property
    def tokens(self) -> int:
        """Tokens, the end among them, of the texts it was trained on."""
        found = self.config.get("max_seq_length", 128)
        if isinstance(found, bool) or not isinstance(found, int) or not 2 <= found <= 65_536:
            raise CheckpointError(
                f"{self.folder / 'config.json'}: max_seq_length is {brief(found)!r}, and not a number of tokens"
            )
        return found


def import_pair(
    inversion: str,
    corrector: str,
    out: Path,
    *,
    embedder: str | None = None,
    tokenizer: str | None = None,
    device: torch.device,
) -> None:
    """Write the pair as a checkpoint to `out`.

    `inversion` and `corrector` are folders or hub ids. `embedder` is the name of an embedder, or the folder or hub id
    of the model that the inversion model's config names; `tokenizer` that of the T5, when it is in neither folder.
    Raises InputError for what isn't there and for an `out` that holds anything but a checkpoint, CheckpointError for
    what isn't such a model.
    """
    refuse_foreign(out)
    guess = _published(inversion, "inversion", marker="embedding_transform")
    correction = _published(corrector, "corrector", marker="embedding_transform_1")
    for half in (guess, correction):
        if missing := [
            name for name in ("decoder.token_embed.weight", "target.fc1.weight") if name not in half.tensors
        ]:
            raise CheckpointError(f"{half.folder} isn't over a T5: it has no tensor {missing[0]!r}")
    rows = len(guess.tensors["decoder.token_embed.weight"])
    if rows != len(correction.tensors["decoder.token_embed.weight"]):
        raise CheckpointError(f"{inversion} and {corrector} have different vocabularies; they don't form a pair")
    tokens = correction.tokens  # vec2text cuts hypotheses by the corrector's
    named = embedder_name(guess.config, embedder, tokens=tokens, origin=str(guess.folder / "config.json"))
    box = text_embedder(named, device)
    dimension = guess.tensors["target.fc1.weight"].shape[1]
    if box.dimension != dimension:
        raise InputError(
            f"embedder {named!r} gives vectors {box.dimension} wide; {inversion} reads {dimension}: name its own with "
            f"--embedder"
        )
    _same_weights(guess, box)
    speller = _tokenizer(guess, correction, box, tokenizer, rows)
    config = {
        "dimension": dimension,
        "tokens": tokens,
        "special": {"pad": speller.pad_token_id, "start": speller.pad_token_id, "end": speller.eos_token_id},
        "guess": _shape(guess),
        "correction": {
            **_shape(correction),
            "feedback": not correction.config.get("corrector_ignore_hypothesis_embedding", False),
            "layernorm": "layernorm.weight" in correction.tensors,
        },
    }
    tensors = {f"guess.{key}": value for key, value in guess.tensors.items()}
    tensors |= {f"correction.{key}": value for key, value in correction.tensors.items()}
    save_pair(
        out,
        load_pair(config, tensors, device, guess.folder.parent),
        speller,
        box,
        config=config,
        name=out.name,
        embedder_name=named,
        training={"imported": {"inversion": inversion, "corrector": corrector}},
        storage="float16" if all(torch.equal(x.half().float(), x) for x in tensors.values()) else "float32",
    )


def _published(source: str, what: str, *, marker: str) -> Published:
    folder = fetch(source, f"--{what}")
    config = read_config(folder)
    for key, usual in (("embedding_transform_strategy", "repeat"), ("embeddings_from_layer_n", None)):
        if config.get(key, usual) != usual:
            raise CheckpointError(f"{folder / 'config.json'}: {key} is {config[key]!r}; only {usual!r} is known")
    raw = read_weights(folder)
    if f"{marker}." not in " ".join(raw):
        other = {"inversion": "corrector", "corrector": "inversion"}[what]
        raise CheckpointError(f"{folder} isn't a vec2text {what} (no tensor {marker}.*); is it the {other}?")
    for name, tensor in raw.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{folder}: tensor {brief(name)!r} holds NaN or infinity")
    own, embedder = migrated(raw)
    for name in KNOWN:
        if name in own and (own[name].ndim != 2 or not own[name].numel()):
            raise CheckpointError(f"{folder}: tensor {name!r} has shape {list(own[name].shape)} and should be a matrix")
    return Published(folder, config, own, embedder)


def _shape(published: Published) -> dict[str, Any]:
    """The keywords of a network's `__init__`, read off its tensors; raises CheckpointError."""
    tensors = published.tensors
    try:
        bias = tensors["encoder.position_bias.weight"]
        query = tensors[f"{BLOCK}attention.q_proj.weight"]
        gated = f"{BLOCK}mlp.gate_proj.weight" in tensors
        wide = tensors[f"{BLOCK}mlp.fc1.weight"]
        embed, projected = tensors["decoder.token_embed.weight"], tensors["target.fc2.weight"]
    except KeyError as error:
        raise CheckpointError(f"{published.folder} isn't over a T5: it has no tensor {error}") from error
    t5 = {
        "vocab_size": len(embed),
        "d_model": embed.shape[1],
        "d_kv": query.shape[0] // bias.shape[1],
        "d_ff": wide.shape[0],
        "num_heads": bias.shape[1],
        "num_layers": _count(tensors, "encoder.blocks."),
        "num_decoder_layers": _count(tensors, "decoder.blocks."),
        "relative_attention_num_buckets": bias.shape[0],
        "relative_attention_max_distance": BUCKETS,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
        "dropout_rate": 0.1,
    }
    return {
        "t5": t5,
        "positions": projected.shape[0] // embed.shape[1],
        "hidden": projected.shape[1],
        "tied": "decoder.lm_head.weight" not in tensors,
    }


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(key.removeprefix(prefix).partition(".")[0]) for key in tensors if key.startswith(prefix))


def _tokenizer(guess: Published, correction: Published, embedder: TextEmbedder, named: str | None, rows: int) -> Any:
    """The T5's tokenizer: the one named, one beside the weights, the embedder's if that is a T5 too, or the hub's."""
    if named is not None:
        return _fitting(read_tokenizer(str(fetch(named, "--tokenizer"))), named, rows)
    for folder in (guess.folder, correction.folder):
        if (folder / "tokenizer.json").is_file() or (folder / "spiece.model").is_file():
            return _fitting(read_tokenizer(str(folder)), str(folder), rows)
    own = embedder.tokenizer
    if own is not None and _is_t5(embedder, rows):
        return own
    source = str(guess.config.get("model_name_or_path") or "t5-base")
    try:
        return _fitting(read_tokenizer(source), source, rows)
    except InputError as error:
        raise InputError(f"{error}; name a folder with the tokenizer of {source!r} with --tokenizer") from error


def _is_t5(embedder: TextEmbedder, rows: int) -> bool:
    """Whether the embedder is a T5 with the same vocabulary; the published GTR is, and so shares its tokenizer."""
    tensors = embedder.tensors() if isinstance(embedder, LocalEmbedder) else {}
    return any(key.endswith("shared.weight") and len(value) == rows for key, value in tensors.items())


def _fitting(tokenizer: Any, origin: str, rows: int) -> Any:
    if len(tokenizer) > rows:
        raise InputError(f"the tokenizer of {origin} has {len(tokenizer)} tokens and the networks {rows}; name another")
    return tokenizer


def _same_weights(guess: Published, embedder: TextEmbedder) -> None:
    """Inversion models carry their embedder's weights: the one at hand must have the same."""
    if not isinstance(embedder, LocalEmbedder):
        return
    have = embedder.tensors()
    for key, wanted in guess.embedder.items():
        parts = key.split(".")
        # Wrappers differ in what they put in front; four parts still tell one layer from another.
        names = (".".join(parts[start:]) for start in range(max(1, len(parts) - 3)))
        found = next((have[name] for short in names for name in have if ("." + name).endswith("." + short)), None)
        if found is None or wanted.ndim < 2:
            continue
        if found.shape != wanted.shape or not torch.allclose(found.cpu(), wanted, rtol=0.02, atol=1e-3):
            raise InputError(
                f"{guess.folder} was trained against another embedder than {embedder.name!r} (their weights {key!r} "
                f"differ); name the right one with --embedder"
            )
