"""One batch of texts to vectors, through the official client, whatever goes wrong on the way."""

from collections.abc import Sequence
from threading import Event
from typing import Any

import openai
import torch
from torch import Tensor

from unembed.costs.meter import Meter
from unembed.errors import EmbedderMismatchError, ServiceError, UnembedError
from unembed_text.embedders.api.http import Halt, MeteredHttp, out_of_quota
from unembed_text.embedders.api.limits import RateLimiter
from unembed_text.embedders.api.services import TooManyTextsError, estimate

__all__ = ["Requester"]

LONGEST_PAUSE = 8.0  # seconds, as the client's own


class Requester:
    """Sends batches, checks what comes back, and asks again for what is missing.

    Attempts that fail are the client's to repeat: it knows which, and how long to wait. Answers that come back
    damaged are ours; both together make at most `attempts` for a batch.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        key: str,
        request: dict[str, Any],
        meter: Meter,
        limiter: RateLimiter,
        attempts: int,
        timeout: float,
    ) -> None:
        self._name, self._key, self._request = name, key, request
        self._meter, self._attempts = meter, attempts
        self._http = MeteredHttp(meter, limiter)
        self._client = openai.OpenAI(api_key=key or "none", base_url=url, timeout=timeout, http_client=self._http)
        self._width_seen = False

    def __call__(
        self, texts: Sequence[str], dimension: int | None, stop: Event
    ) -> tuple[dict[str, Tensor], Exception | None]:
        """Vectors by text: all of them, or those that came and the error that kept the others away.

        Once `stop` is set nothing more is sent, and what has come by then is returned.
        """
        found: dict[str, Tensor] = {}
        left, pause = self._attempts, 0.5
        while asked := [text for text in texts if text not in found]:
            try:
                rows, fault, tries = self._ask(asked, dimension, left, stop)
            except Halt as halt:
                return found, halt.reason
            except (UnembedError, TooManyTextsError) as error:
                return found, error
            found.update({asked[index]: vector for index, vector in rows.items()})
            left -= tries
            if fault is None:
                continue
            if left < 1:
                return found, self._failed(fault, self._attempts)
            if stop.wait(pause):
                break
            pause = min(2 * pause, LONGEST_PAUSE)
        return found, None

    def _ask(
        self, texts: Sequence[str], dimension: int | None, attempts: int, stop: Event
    ) -> tuple[dict[int, Tensor], str | None, int]:
        """The whole rows of an answer by place, what is wrong with the rest, and how many attempts it took."""
        client = self._client.with_options(max_retries=attempts - 1)
        tries = 0
        try:
            with self._http.call(sum(map(estimate, texts)), stop):
                raw = client.embeddings.with_raw_response.create(input=list(texts), **self._request)
            tries = raw.retries_taken + 1
            rows, fault = _rows(raw.parse(), len(texts))
        except openai.APIStatusError as error:
            raise self._refusal(error, len(texts), attempts) from None
        except openai.APITimeoutError:
            raise self._failed("no answer in time", self._attempts) from None
        except openai.APIConnectionError as error:
            reason = type(error.__cause__ or error).__name__
            raise self._failed(f"the connection failed ({reason})", self._attempts) from None
        except (openai.OpenAIError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            # A body that isn't what the protocol says breaks the client in more ways than it has errors for.
            return {}, "the answer couldn't be read", max(1, tries)
        rows, fault = self._checked(rows, fault, len(texts), dimension)
        self._meter.answer(len(rows))
        return rows, fault, tries

    def _checked(
        self, rows: dict[int, Tensor], fault: str | None, count: int, dimension: int | None
    ) -> tuple[dict[int, Tensor], str | None]:
        """The rows that are as wide as they should be; raises EmbedderMismatchError when no row ever was."""
        if dimension is None:
            return rows, fault
        right = {index: vector for index, vector in rows.items() if len(vector) == dimension}
        self._width_seen = self._width_seen or bool(right)
        widths = {len(vector) for vector in rows.values()} - {dimension}
        if not self._width_seen and len(rows) == count and len(widths) == 1:
            raise EmbedderMismatchError(
                f"{self._name}: its embeddings are {widths.pop()} wide, not {dimension}; name a server of that model"
            )
        return right, f"an embedding is {widths.pop()} wide, not {dimension}" if widths else fault

    def _refusal(self, error: openai.APIStatusError, count: int, attempts: int) -> Exception:
        """What an answer with an error's code means."""
        code, response = error.status_code, error.response
        if out_of_quota(response):
            return ServiceError(f"{self._name}: the account has no quota left ({code}); top it up, then go on")
        if code in (408, 409, 429) or code >= 500:
            tries = int(error.request.headers.get("x-stainless-retry-count", 0)) + 1
            wait = response.headers.get("retry-after")
            if tries < attempts and wait is not None:
                wait = f"{wait} s" if wait.isdigit() else wait
                return ServiceError(f"{self._name}: the service answered {code}; try again after {wait[:40]}")
            return self._failed(f"the service answered {code}", self._attempts - attempts + tries)
        if code in (413, 422) and count > 1:
            return TooManyTextsError()
        if code in (401, 403):
            return ServiceError(f"{self._name}: the service refused the key ({code}); check it")
        return ServiceError(f"{self._name}: the service refused ({code}): {self._clean(str(error))}")

    def _failed(self, reason: str, times: int) -> ServiceError:
        return ServiceError(f"{self._name}: {reason}, {'once' if times == 1 else f'{times} times'}; try again later")

    def _clean(self, message: str) -> str:
        """A service's own words, in one line, without the key that some repeat."""
        message = message.replace(self._key, "…") if self._key else message
        return " ".join(message.split())[:300]


def _rows(answer: Any, count: int) -> tuple[dict[int, Tensor], str | None]:
    """The rows of an answer that hold a vector, by place, and what is wrong with the rest."""
    data = getattr(answer, "data", None)
    if not isinstance(data, list):
        return {}, "the answer holds no embeddings"
    places: list[Any] = [getattr(item, "index", None) for item in data]
    if len(data) == count and any(not isinstance(place, int) for place in places):
        places = list(range(count))
    if sorted(map(str, places)) != sorted(map(str, range(count))):
        return {}, f"the answer holds {len(data)} embeddings for {count} texts, or numbers them wrongly"
    rows: dict[int, Tensor] = {}
    fault = None
    for place, item in zip(places, data, strict=True):
        try:
            vector = torch.tensor(item.embedding, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            fault = "an embedding isn't a list of numbers"
            continue
        if vector.ndim != 1 or len(vector) == 0:
            fault = "an embedding isn't a list of numbers"
        elif not torch.isfinite(vector).all():
            fault = "an embedding holds NaN or infinity"
        else:
            rows[place] = vector
    return rows, fault
