"""Embedding services by name or address."""

import ipaddress
import re
from urllib.parse import urlsplit

import torch

from unembed.errors import InputError, brief
from unembed_text.embedders.api.embedder import ApiEmbedder, ApiOptions
from unembed_text.embedders.api.services import LOCAL, OLLAMA, SERVICES, Service
from unembed_text.embedders.names import split_options

__all__ = ["named_service", "url_service"]

LONGEST = 2000  # characters of an address


def named_service(kind: str, argument: str, device: torch.device) -> ApiEmbedder:
    """`openai:MODEL?options`, `cohere:…`, `voyage:…`, `gemini:…`, `ollama:…`."""
    service = OLLAMA if kind == "ollama" else SERVICES[kind]
    model, options = split_options(argument, ApiOptions, name=kind)
    known = f"; known: {', '.join(service.models)}" if service.models else ""
    if not model or not _is_text(model):
        raise InputError(f"{kind} needs a model: {kind}:MODEL{known}")
    return ApiEmbedder(service, model, options, name=brief(f"{kind}:{argument}", 200), device=device)


def url_service(scheme: str, argument: str, device: torch.device) -> ApiEmbedder:
    """`http://HOST:PORT/v1?options#MODEL`."""
    place, _, model = argument.partition("#")
    if "@" in re.split(r"[/?\\]", place.lstrip("/"), maxsplit=1)[0]:
        raise InputError(f"an address must not hold a key or password; set {LOCAL.key} instead")
    given, form = brief(f"{scheme}:{argument}"), f"a server is named {scheme}://HOST:PORT/v1#MODEL"
    if "?" in model:
        name, _, more = model.partition("?")
        raise InputError(f"options stand before the model, not after it: {brief(f'{scheme}:{place}?{more}#{name}')}")
    url, options = split_options(place, ApiOptions, name=f"{scheme} servers")
    if not model or not _is_text(model) or len(url) > LONGEST or not _is_address(f"{scheme}:{url}"):
        raise InputError(f"{form}; got {given}")
    service = Service(f"{scheme}:{url}".rstrip("/"), LOCAL.key, batch=LOCAL.batch)
    return ApiEmbedder(service, model, options, name=brief(f"{scheme}:{argument}", 200), device=device)


def _is_address(url: str) -> bool:
    """Whether the host and the port can be those of a server."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if ":" in host:
            ipaddress.IPv6Address(host)
        elif not re.fullmatch(rb"[a-z0-9._-]+", host.encode("idna").lower()):
            return False
    except ValueError:
        return False
    return port != 0 and url.isprintable() and " " not in url


def _is_text(name: str) -> bool:
    """Whether a name can be sent: arguments that weren't UTF-8 can't."""
    return name.isprintable()
