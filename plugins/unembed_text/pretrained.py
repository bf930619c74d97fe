"""Where a network starts from: a T5 on disk or on the hub."""

import json
import lzma
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as parse_tensors
from torch import Tensor

from unembed.errors import ConfigError

__all__ = ["read_t5"]


def read_t5(source: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, int]]:
    """A T5's config, its float32 weights under transformers' names, and its pieces (piece → id).

    `source` is a hub id, a folder that transformers can read, or a folder with `model_int8.safetensors`
    (plain or .xz: each matrix as int8 rows with a float32 `.scale`).
    """
    folder = Path(source)
    for name in ("model_int8.safetensors", "model_int8.safetensors.xz"):
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            stored = parse_tensors(lzma.decompress(data) if name.endswith(".xz") else data)
            weights = {
                key: value.float() * stored[f"{key}.scale"][:, None] if f"{key}.scale" in stored else value.float()
                for key, value in stored.items()
                if not key.endswith(".scale")
            }
            config = json.loads((folder / "config.json").read_text())
            pieces = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
            return config, weights, {piece: index for index, (piece, _) in enumerate(pieces)}
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    try:
        model = T5ForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except OSError as error:
        raise ConfigError(
            f"no pretrained T5 at {source!r}: give a folder or a hub id ({str(error).splitlines()[0]})"
        ) from error
    return model.config.to_dict(), model.state_dict(), tokenizer.get_vocab()
