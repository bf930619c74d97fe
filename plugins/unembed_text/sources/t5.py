"""Where a network starts from: a T5 on disk or on the hub."""

import json
import lzma
from pathlib import Path
from typing import Any

from safetensors.torch import load as parse_tensors
from torch import Tensor

from unembed.errors import CheckpointError, ConfigError, InputError
from unembed_text.decoder.convert import rename_t5
from unembed_text.sources.foreign_tokenizers import read_tokenizer
from unembed_text.sources.foreign_weights import fetch, read_config, read_weights

__all__ = ["first_layers", "hub_id", "read_t5"]


def read_t5(source: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, int]]:
    """A T5's config, its float32 weights under the names of our network, and its pieces (piece → id).

    `source` is a hub id, a folder as transformers writes them (T5, T5 v1.1, flan-T5), or a folder with
    `model_int8.safetensors` (plain or .xz: each matrix as int8 rows with a float32 `.scale`). The output matrix is
    there for every version: where T5 ties it to the embedding it is that one, times the scale that T5 gives its states.
    """
    try:
        folder = fetch(hub_id(source), "start")
        config = read_config(folder)
        weights = _packed(folder) or read_weights(folder)
        shared = weights["shared.weight"]
    except (InputError, CheckpointError, KeyError) as error:
        raise ConfigError(f"no pretrained T5 at {source!r}: give a folder or a hub id ({error})") from error
    # transformers 5 ties the two on every T5Config; what tells the versions apart is the config that was saved.
    if config.get("tie_word_embeddings", True):
        weights["lm_head.weight"] = shared * shared.shape[1] ** -0.5
    return config, rename_t5(weights), _pieces(folder)


def first_layers(
    t5: dict[str, Any], weights: dict[str, Tensor], count: int | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A T5's config and weights with the first `count` layers of each half, or all; raises ConfigError."""
    if count is None:
        return t5, weights
    if count > t5["num_layers"]:
        raise ConfigError(f"[recipe] layers: the T5 that it starts from has {t5['num_layers']}, not {count}")
    keep = tuple(f".blocks.{index}." for index in range(count))
    weights = {key: value for key, value in weights.items() if ".blocks." not in key or any(x in key for x in keep)}
    return {**t5, "num_layers": count, "num_decoder_layers": count}, weights


def hub_id(source: str) -> str:
    """A folder as it is; a hub id with its owner, without which the first T5s are known too."""
    return f"google-t5/{source}" if source.startswith("t5-") and not Path(source).is_dir() else source


def _packed(folder: Path) -> dict[str, Tensor] | None:
    for name in ("model_int8.safetensors", "model_int8.safetensors.xz"):
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            stored = parse_tensors(lzma.decompress(data) if name.endswith(".xz") else data)
            return {
                key: value.float() * stored[f"{key}.scale"][:, None] if f"{key}.scale" in stored else value.float()
                for key, value in stored.items()
                if not key.endswith(".scale")
            }
    return None


def _pieces(folder: Path) -> dict[str, int]:
    file = folder / "tokenizer.json"
    if file.is_file():
        vocabulary = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
        return {piece: index for index, (piece, _) in enumerate(vocabulary)}
    found: dict[str, int] = read_tokenizer(str(folder)).get_vocab()
    return found
