"""Servers by address: `llamacpp:http://HOST:PORT?…` and `completions:http://HOST:PORT/v1?…#MODEL`."""

from typing import TypeVar

import torch
from pydantic import Field

from unembed.costs.meter import Meter
from unembed.errors import InputError
from unembed_lm.embedders.frame import read_frame
from unembed_lm.embedders.names import LocalOptions, read_tokenizer_of
from unembed_lm.embedders.servers.client import Client
from unembed_lm.embedders.servers.completions import Completions
from unembed_lm.embedders.servers.llamacpp import LlamaCpp
from unembed_lm.embedders.servers.served import ServedModel
from unembed_text.toolkit import split_options

__all__ = ["completions", "llamacpp"]

Kind = TypeVar("Kind", bound=ServedModel)
WIDTH_AND_MORE = 676  # tokens of SmolLM2-135M: its width and 100


class ServerOptions(LocalOptions):
    """What may follow a server's address; `tokenizer` is that of its model, a folder, a GGUF file or a hub id."""

    tokenizer: str = "smollm2"
    tokens: int | None = Field(WIDTH_AND_MORE, ge=2, le=2**20)
    timeout: float = Field(60.0, gt=0)


def llamacpp(argument: str, device: torch.device) -> ServedModel:
    """The model of a llama.cpp server."""
    return _served(LlamaCpp, argument, device, "llamacpp")


def completions(argument: str, device: torch.device) -> ServedModel:
    """The model called `#MODEL` of an OpenAI-compatible server."""
    address, hash_, model = argument.rpartition("#")
    if not hash_ or not model:
        raise InputError("completions needs a model: completions:http://HOST:PORT/v1#MODEL")
    made = _served(Completions, address, device, "completions", suffix=f"#{model}")
    made.model = model
    return made


def _served(kind: type[Kind], argument: str, device: torch.device, label: str, *, suffix: str = "") -> Kind:
    url, options = split_options(argument, ServerOptions, name=label)
    name = f"{label}:{argument}{suffix}"
    if kind is LlamaCpp and options.access == "biased":
        raise InputError(f"{label}: llama.cpp shows all log-probabilities; leave access out")
    client = Client(url, Meter(), timeout=options.timeout)
    tokenizer = read_tokenizer_of(options.tokenizer)
    return kind(
        client,
        tokenizer,
        read_frame(tokenizer, name, options.template),
        name=name,
        tokens=options.tokens or WIDTH_AND_MORE,
        steps=options.steps,
        width=options.width,
        access=options.access,
        seed=options.seed,
        device=device,
    )
