"""One batch of texts to vectors, through the official client, whatever goes wrong on the way."""

import datetime
import logging
import math
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import torch
from torch import Tensor

from unembed.costs.meter import Meter
from unembed.errors import MissingExtraError, ServiceError, UnembedError
from unembed_text.embedders.api.limits import RateLimiter

__all__ = ["Requester", "TooLargeError", "estimate"]

try:
    from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
except ImportError as error:
    raise MissingExtraError("embedding APIs need an extra: pip install 'unembed[api]'") from error

log = logging.getLogger("unembed.api")

LONGEST_PAUSE = 600.0  # seconds; a service that asks for more has run out of quota
TRANSIENT = (408, 409, 425, 429)


class Transient(Exception):
    """What another try may cure; `after` is how long the service asked to wait, in seconds."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class TooLargeError(Exception):
    """The service takes fewer texts at once."""


class Requester:
    """Sends batches: waits for the limiter, checks what comes back, asks again for what is missing."""

    def __init__(
        self,
        client: Any,
        *,
        name: str,
        secret: str,
        request: dict[str, Any],
        meter: Meter,
        limiter: RateLimiter,
        attempts: int,
    ) -> None:
        self.client, self.name, self.request = client, name, request
        self.meter, self.limiter, self.attempts = meter, limiter, attempts
        self._secret = secret

    def __call__(self, texts: Sequence[str], dimension: int | None) -> tuple[dict[str, Tensor], Exception | None]:
        """Vectors by text: all of them, or those that came and the error that kept the others away."""
        found: dict[str, Tensor] = {}
        wait = wait_random_exponential(multiplier=0.5, max=30)

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.after if isinstance(error, Transient) and error.after is not None else 0.0
            seconds = max(asked, wait(state))
            log.info("%s: %s; trying again in %.1f s", self.name, error, seconds)
            return seconds

        retrying = Retrying(
            stop=stop_after_attempt(self.attempts), wait=pause, retry=retry_if_exception_type(Transient), reraise=True
        )
        try:
            retrying(self._missing, texts, found, dimension)
        except Transient as error:
            return found, ServiceError(f"{self.name}: {error}, {self.attempts} times; try again later")
        except (UnembedError, TooLargeError) as error:
            return found, error
        return found, None

    def _missing(self, texts: Sequence[str], found: dict[str, Tensor], dimension: int | None) -> None:
        """Ask once for what `found` lacks, and add what comes back whole."""
        asked = [text for text in texts if text not in found]
        size = sum(map(estimate, asked))
        self.meter.reserve(size)
        try:
            self.limiter.acquire(size)
            answer = self._send(asked)
            used = getattr(answer, "usage", None)
            tokens = getattr(used, "total_tokens", None)
            rows, fault = _rows(answer, len(asked), dimension)
            self.meter.spend(tokens if isinstance(tokens, int) and tokens > 0 else size, len(rows))
        finally:
            self.meter.release(size)
        found.update({asked[index]: vector for index, vector in rows.items()})
        if fault is not None:
            raise Transient(fault)

    def _send(self, texts: Sequence[str]) -> Any:
        import openai

        try:
            return self.client.embeddings.create(input=list(texts), **self.request)
        except openai.APIStatusError as error:
            code = error.status_code
            if code in TRANSIENT or code >= 500:
                after = _retry_after(error.response.headers)
                if after is not None and after > LONGEST_PAUSE:
                    raise ServiceError(f"{self.name}: the service asks to wait {after:.0f} s ({code})") from None
                if "insufficient_quota" in str(error):
                    raise ServiceError(f"{self.name}: the account has no quota left ({code})") from None
                raise Transient(f"the service answered {code}", after) from None
            if code in (413, 422) and len(texts) > 1:
                raise TooLargeError from None
            if code in (401, 403):
                raise ServiceError(f"{self.name}: the service refused the key ({code}); check it") from None
            raise ServiceError(f"{self.name}: the service refused ({code}): {self._clean(str(error))}") from None
        except openai.APITimeoutError:
            raise Transient("no answer in time") from None
        except openai.APIConnectionError as error:
            reason = type(error.__cause__ or error).__name__
            raise Transient(f"the connection failed ({reason})") from None
        except (openai.OpenAIError, ValueError, TypeError, AttributeError, KeyError):
            # A body that isn't what the protocol says breaks the client in more ways than it has errors for.
            raise Transient("the answer couldn't be read") from None

    def _clean(self, message: str) -> str:
        """A service's own words, in one line, without the key that some repeat."""
        message = message.replace(self._secret, "…") if self._secret else message
        return " ".join(message.split())[:300]


def estimate(text: str) -> int:
    """About how many tokens a text has: services tell only afterwards. Three bytes each, which errs upwards."""
    return len(text.encode()) // 3 + 1


def _rows(answer: Any, count: int, dimension: int | None) -> tuple[dict[int, Tensor], str | None]:
    """The rows of an answer that are whole, by place, and what is wrong with the rest."""
    data = getattr(answer, "data", None)
    if not isinstance(data, list):
        return {}, "the answer holds no embeddings"
    places = [getattr(item, "index", None) for item in data]
    if any(not isinstance(place, int) for place in places):
        places = list(range(len(data))) if len(data) == count else places
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
        if vector.ndim != 1 or len(vector) == 0 or (dimension is not None and len(vector) != dimension):
            fault = f"an embedding is {list(vector.shape)} wide, not {dimension}"
        elif not torch.isfinite(vector).all():
            fault = "an embedding holds NaN or infinity"
        else:
            rows[place] = vector
    return rows, fault


def _retry_after(headers: Any) -> float | None:
    """Seconds from `retry-after-ms` or `Retry-After` (seconds or a date), None where there is none."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                when = parsedate_to_datetime(value)
            except ValueError:
                continue
            seconds = (when - datetime.datetime.now(when.tzinfo or datetime.UTC)).total_seconds()
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
