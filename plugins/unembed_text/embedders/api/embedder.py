"""An embedding service as the black box."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from unembed.config import Config
from unembed.costs.meter import Meter
from unembed.errors import InputError
from unembed_text.embedders.api.services import LOCAL, Service, TooManyTextsError, estimate
from unembed_text.embedders.base import TextEmbedder, as_bytes, from_bytes

if TYPE_CHECKING:  # each brings a library of the extra, which a dry run doesn't need
    from unembed_text.embedders.api.cache import VectorCache
    from unembed_text.embedders.api.requests import Requester

__all__ = ["ApiEmbedder", "ApiOptions"]

log = logging.getLogger("unembed.api")

GLANCE = 0.05  # seconds between looks for what another process is asking


class ApiOptions(Config):
    """What may follow a service's name or address."""

    dimensions: int | None = Field(None, ge=1)
    batch: int | None = Field(None, ge=1)
    concurrency: int = Field(8, ge=1, le=256)
    requests_per_minute: float | None = Field(None, ge=0.001, allow_inf_nan=False)
    tokens_per_minute: float | None = Field(None, ge=0.001, allow_inf_nan=False)
    attempts: int = Field(6, ge=1, le=1000)
    timeout: float = Field(60.0, gt=0, allow_inf_nan=False)
    price: float | None = Field(None, ge=0, lt=1e9, allow_inf_nan=False)
    prompt: str = ""


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
        self._folder = Path(os.environ.get("UNEMBED_CACHE", "~/.cache/unembed")).expanduser() / "embeddings"
        self._cache: VectorCache | None = None
        self._requester: Requester | None = None
        self._keyless = service.key in (None, LOCAL.key)
        price = options.price if options.price is not None else known.price if known else None
        self._costs = Meter(price=price)
        super().__init__(
            name=name,
            modality="text",
            dimension=options.dimensions or (known.dimension if known else None),
            normalized=False,
            device=device,
            available=self._keyless or bool(os.environ.get(service.key or "")),
            meter=self._costs,
        )

    def _measure(self) -> int:
        """The width as the cache knows it, else as the service answers."""
        if not self.available:
            raise InputError(
                f"{self.name}: the width of {self._model!r} isn't known here; add ?dimensions=, or set "
                f"{self._service.key}"
            )
        known = self._open_cache().width()
        if known is None:
            log.info("%s: its width is unknown until asked; asking for one text", self.name)
            known = len(self._ask(["width"])["width"])
        return known

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
        cache, found = self._open_cache(), dict[str, Tensor]()

        def look(texts: Sequence[str]) -> list[str]:
            """Take what is kept; returns the rest. A server that had another model once is asked anew."""
            kept = {text: row for text, row in cache.get(texts).items() if len(row) == (self._dimension or len(row))}
            self._costs.hit(len(kept))
            found.update(kept)
            return [text for text in texts if text not in found]

        missing = look(wanted)
        while missing:
            found.update(self._request(missing, look))
            missing = [text for text in missing if text not in found]
            if missing:  # another process, with the same cache, is asking for these
                time.sleep(GLANCE)
                missing = look(missing)
        return found

    def _request(self, texts: Sequence[str], look: Callable[[Sequence[str]], list[str]]) -> dict[str, Tensor]:
        """Ask the service for those of `texts` that no other process is asking for; keep each answer as it comes."""
        cache, requester = self._open_cache(), self._open_requester()
        stop = Event()  # nothing more is sent once something is wrong; what is under way is kept
        faults: list[Exception] = []

        def send(batch: Sequence[str]) -> dict[str, Tensor]:
            if stop.is_set():
                return {}
            vectors, fault = requester(batch, self._dimension, stop)
            cache.put(vectors)
            if isinstance(fault, TooManyTextsError):
                rest = [text for text in batch if text not in vectors]
                return {**vectors, **send(rest[: len(rest) // 2]), **send(rest[len(rest) // 2 :])}
            if fault is not None:
                faults.append(fault)
                stop.set()
            return vectors

        def work(batch: Sequence[str]) -> dict[str, Tensor]:
            with cache.claimed(batch) as mine:
                unanswered = look(mine)  # it may have been answered since
                return send(unanswered) if unanswered else {}

        found: dict[str, Tensor] = {}
        pool = ThreadPoolExecutor(self._options.concurrency)
        try:
            for vectors in pool.map(work, self._batches(texts)):
                found.update(vectors)
        except BaseException:
            stop.set()
            raise
        finally:  # an interrupted run waits for what is under way, and keeps it
            pool.shutdown(cancel_futures=True)
        if faults:
            raise faults[0]
        return found

    def _open_cache(self) -> "VectorCache":
        from unembed_text.embedders.api.cache import VectorCache

        if self._cache is None:
            space = f"{self._service.url}\0{self._model}\0{self._options.dimensions}"
            self._cache = VectorCache(self._folder, space=space)
        return self._cache

    def _open_requester(self) -> "Requester":
        from unembed_text.embedders.api.limits import RateLimiter
        from unembed_text.embedders.api.requests import Requester

        if self._requester is not None:
            return self._requester
        service, options = self._service, self._options
        key = os.environ.get(service.key or "", "").strip()
        if not key and not self._keyless:
            raise InputError(f"{self.name} needs a key: set {service.key} in the environment")
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"{self.name}: what {service.key} holds can't be a key; set it again")
        request: dict[str, Any] = {"model": self._model}
        if options.dimensions is not None and service.dimensions == "dimensions":
            request["dimensions"] = options.dimensions
        elif options.dimensions is not None:
            request["extra_body"] = {service.dimensions: options.dimensions}
        self._requester = Requester(
            name=self.name,
            url=service.url,
            key=key,
            request=request,
            meter=self._costs,
            limiter=RateLimiter(requests=options.requests_per_minute, tokens=options.tokens_per_minute),
            attempts=options.attempts,
            timeout=options.timeout,
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
