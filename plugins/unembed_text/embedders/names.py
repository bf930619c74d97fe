"""Embedders by name: `KIND:SOURCE?option=value&option=value`."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl

import torch
from pydantic import Field

from unembed.config import Config, parse
from unembed.errors import ConfigError, InputError, brief
from unembed_text.embedders import sentence_transformers
from unembed_text.embedders.local import LocalEmbedder
from unembed_text.embedders.onnx import OnnxEmbedder
from unembed_text.embedders.pooling import Pooling
from unembed_text.embedders.sentence_transformers import SentenceTransformerEmbedder
from unembed_text.embedders.transformers import TransformerEmbedder

__all__ = ["local_embedder", "minilm", "split_options"]


class LocalOptions(Config):
    """What every model that runs here takes."""

    prompt: str = ""
    normalize: bool = False
    max_tokens: int | None = Field(None, ge=2)


class SentenceOptions(LocalOptions):
    """Those of `st:`."""

    truncate_dim: int | None = Field(None, ge=1)


class TransformerOptions(LocalOptions):
    """Those of `hf:`."""

    pooling: Pooling = "mean"


class OnnxOptions(LocalOptions):
    """Those of `onnx:`."""

    pooling: Literal["mean", "cls", "last", "max"] = "mean"
    file: str = ""


KINDS: dict[str, tuple[Callable[..., LocalEmbedder], type[LocalOptions], str]] = {
    "st": (SentenceTransformerEmbedder, SentenceOptions, "st:FOLDER or st:HUB_ID"),
    "hf": (TransformerEmbedder, TransformerOptions, "hf:FOLDER or hf:HUB_ID?pooling=mean"),
    "onnx": (OnnxEmbedder, OnnxOptions, "onnx:FOLDER?pooling=mean"),
}
HUB_ID = re.compile(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)
Options = TypeVar("Options", bound=Config)


def split_options(argument: str, model: type[Options], *, name: str) -> tuple[str, Options]:
    """The source and the options of `argument`; raises InputError that lists the options."""
    source, _, query = argument.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        if len(dict(pairs)) < len(pairs):
            raise ValueError("an option is given twice")
        return source, parse(model, dict(pairs), name)
    except (ValueError, ConfigError) as error:
        known = ", ".join(model.model_fields)
        raise InputError(f"{brief(error, 250)}; the options of {name} are {known}") from error


def local_embedder(
    kind: Literal["st", "hf", "onnx"],
    argument: str,
    device: torch.device,
    *,
    name: str = "",
    source: str = "",
    fixed: Mapping[str, Any] | None = None,
) -> LocalEmbedder:
    """The model that `argument` names, or else that of `source`; `fixed` options can't be chosen."""
    embedder, options, example = KINDS[kind]
    name = name or f"{kind}:{argument}"
    given, chosen = split_options(argument, options, name=kind)
    source = given or source
    if not source:
        raise InputError(f"{kind} needs a model: {example}")
    if not HUB_ID.fullmatch(source) and not _exists(source):
        raise InputError(f"there is no folder {brief(source)!r}, and no model on the hub is called so: name {example}")
    return embedder(source, name=name, device=device, **{**chosen.model_dump(), **(fixed or {})})


def minilm(argument: str, device: torch.device) -> LocalEmbedder:
    """`minilm`, which takes no argument."""
    if argument:
        raise InputError(f"minilm takes no argument, not {argument!r}; name another model as st:{argument}")
    return sentence_transformers.minilm(device)


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # a name too long, no home, not UTF-8
        return False
