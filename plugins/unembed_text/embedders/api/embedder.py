"""An embedding service as the black box."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from pydantic import Field
from torch import Tensor

from unembed.config import Config
from unembed.costs.meter import Meter
from unembed.errors import InputError, MissingExtraError
from unembed_text.embedders.api.cache import VectorCache
from unembed_text.embedders.api.limits import RateLimiter
from unembed_text.embedders.api.requests import Requester, TooLargeError, estimate
from unembed_text.embedders.api.services import LOCAL, OLLAMA, SERVICES, Service
from unembed_text.embedders.local import TextEmbedder, as_bytes, from_bytes
from unembed_text.embedders.names import split_options

__all__ = ["ApiEmbedder", "named_service", "url_service"]


class ApiOptions(Config):
    """What may follow a service's name or address."""

    dimensions: int | None = Field(None, ge=1)
    batch: int | None = Field(None, ge=1)
    concurrency: int = Field(8, ge=1)
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    attempts: int = Field(6, ge=1)
    timeout: float = Field(60.0, gt=0)
    price: float | None = Field(None, ge=0)
    prompt: str = ""


def named_service(kind: str, argument: str, device: torch.device) -> "ApiEmbedder":
    """`openai:MODEL?options`, `cohere:…`, `voyage:…`, `gemini:…`, `ollama:…`."""
    service = OLLAMA if kind == "ollama" else SERVICES[kind]
    model, options = split_options(argument, ApiOptions, name=kind)
    if not model:
        known = f"; known: {', '.join(service.models)}" if service.models else ""
        raise InputError(f"{kind} needs a model: {kind}:MODEL{known}")
    return ApiEmbedder(service, model, options, name=f"{kind}:{argument}", device=device)


def url_service(scheme: str, argument: str, device: torch.device) -> "ApiEmbedder":
    """`http://HOST:PORT/v1?options#MODEL`."""
    place, _, model = argument.partition("#")
    url, options = split_options(place, ApiOptions, name=f"{scheme} servers")
    parts = urlsplit(f"{scheme}:{url}")
    if parts.username or parts.password:
        raise InputError(f"an address must not hold a key or password; set {LOCAL.key} instead")
    if "?" in model:
        name, _, more = model.partition("?")
        raise InputError(f"options stand before the model, not after it: {scheme}:{place}?{more}#{name}")
    if not parts.hostname or not model:
        raise InputError(f"a server is named {scheme}://HOST:PORT/v1#MODEL; got {scheme}:{argument}")
    service = Service(f"{scheme}:{url}".rstrip("/"), LOCAL.key, batch=LOCAL.batch)
    return ApiEmbedder(service, model, options, name=f"{scheme}:{argument}", device=device)


class ApiEmbedder(TextEmbedder):
    """A model behind the OpenAI embeddings protocol. Signals are UTF-8 bytes `[N, L]`, padded with 0.

    Texts are asked for once: answers are kept on disk, in UNEMBED_CACHE or ~/.cache/unembed. The key comes from the
    service's environment variable when the first request is made. Raises ServiceError when a service goes on
    failing; what was answered before is kept.
    """

    def __init__(
        self, service: Service, model: str, options: ApiOptions, *, name: str, device: torch.device | str = "cpu"
    ) -> None:
        known = service.models.get(model)
        if options.dimensions is not None and known is not None and not known.shortens:
            raise InputError(f"{name}: the model {model!r} has no choice of dimensions; leave them out")
        self._service, self._model, self._options = service, model, options
        self._dimension = options.dimensions or (known.dimension if known else None)
        self._folder = Path(os.environ.get("UNEMBED_CACHE", "~/.cache/unembed")).expanduser() / "embeddings"
        self._cache: VectorCache | None = None
        self._requester: Requester | None = None
        self._title = name
        self._keyless = service.key in (None, LOCAL.key)
        price = options.price if options.price is not None else known.price if known else None
        self._meter = Meter(price=price)
        available = self._keyless or bool(os.environ.get(service.key or ""))
        if self._dimension is None:
            if not available:
                raise InputError(
                    f"{name}: the width of {model!r} isn't known here; add ?dimensions=, or set {service.key}"
                )
            self._dimension = len(self._ask(["width"])["width"])
        super().__init__(
            name=name,
            modality="text",
            dimension=self._dimension,
            normalized=False,
            device=device,
            available=available,
            meter=self._meter,
        )

    def _signals(self, texts: Sequence[str]) -> Tensor:
        return as_bytes(texts)

    def _embed(self, signals: Tensor) -> Tensor:
        texts = from_bytes(signals)
        found = self._ask(texts)
        return torch.stack([found[text] for text in texts]).to(self.device)

    def _ask(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Vectors by text, from the cache and from the service."""
        # Services refuse an empty text, and with it the whole batch.
        sent = {text: self._options.prompt + text or " " for text in texts}
        found = self._answers(list(dict.fromkeys(sent.values())))
        return {text: found[asked] for text, asked in sent.items()}

    def _answers(self, wanted: Sequence[str]) -> dict[str, Tensor]:
        cache = self._open_cache()
        found = cache.get(wanted)
        self._meter.hit(len(found))
        missing = [text for text in wanted if text not in found]
        if not missing:
            return found
        requester = self._open_requester()
        faults: list[Exception] = []

        def work(batch: Sequence[str]) -> dict[str, Tensor]:
            if faults:  # nothing more is sent once something is wrong; what is under way is kept
                return {}
            vectors, fault = requester(batch, self._dimension)
            cache.put(vectors)
            if isinstance(fault, TooLargeError):
                rest = [text for text in batch if text not in vectors]
                return {**vectors, **work(rest[: len(rest) // 2]), **work(rest[len(rest) // 2 :])}
            if fault is not None:
                faults.append(fault)
            return vectors

        pool = ThreadPoolExecutor(self._options.concurrency)
        try:
            for vectors in pool.map(work, self._batches(missing)):
                found.update(vectors)
        finally:  # an interrupted run waits for what is under way, and keeps it
            pool.shutdown(cancel_futures=True)
        if faults:
            raise faults[0]
        return found

    def _open_cache(self) -> VectorCache:
        if self._cache is None:
            space = f"{self._service.url}\0{self._model}\0{self._options.dimensions}"
            self._cache = VectorCache(self._folder, space=space)
        return self._cache

    def _open_requester(self) -> Requester:
        if self._requester is not None:
            return self._requester
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("embedding APIs need an extra: pip install 'unembed[api]'") from error
        service, options = self._service, self._options
        key = os.environ.get(service.key or "")
        if not key and not self._keyless:
            raise InputError(f"{self._title} needs a key: set {service.key} in the environment")
        request: dict[str, Any] = {"model": self._model}
        if options.dimensions is not None and service.dimensions == "dimensions":
            request["dimensions"] = options.dimensions
        elif options.dimensions is not None:
            request["extra_body"] = {service.dimensions: options.dimensions}
        self._requester = Requester(
            openai.OpenAI(api_key=key or "none", base_url=service.url, max_retries=0, timeout=options.timeout),
            name=self._title,
            secret=key or "",
            request=request,
            meter=self._meter,
            limiter=RateLimiter(requests=options.requests_per_minute, tokens=options.tokens_per_minute),
            attempts=options.attempts,
        )
        return self._requester

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        most = self._options.batch or self._service.batch
        batch: list[str] = []
        size = 0
        for text in texts:
            tokens = estimate(text)
            if batch and (len(batch) == most or size + tokens > self._service.request_tokens):
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += tokens
        if batch:
            yield batch
