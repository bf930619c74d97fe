"""What a black box that charges has cost: counted and limited."""

import threading
from dataclasses import dataclass, field

from unembed.errors import CostLimitError, InputError

__all__ = ["Meter"]


@dataclass
class Meter:
    """Requests, queries answered by the service and from the cache, tokens and cost of a remote embedder.

    `price` is US dollars a million tokens (None: unknown), `max_cost` the most dollars that may be spent. Threads may
    share a meter.
    """

    price: float | None = None
    max_cost: float | None = None
    requests: int = 0
    queries: int = 0
    cached: int = 0
    tokens: int = 0
    _reserved: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def cost(self) -> float | None:
        """Dollars so far, None where the price isn't known."""
        return self.dollars(self.tokens)

    def dollars(self, tokens: int) -> float | None:
        """What so many tokens cost, None where the price isn't known."""
        return None if self.price is None else tokens * self.price / 1e6

    def reserve(self, tokens: int) -> None:
        """Set tokens of a coming request aside; raises CostLimitError when they would pass `max_cost`.

        Raises InputError for a limit without a price: nobody could say when it is reached.
        """
        with self._lock:
            if self.max_cost is not None:
                wanted = self.dollars(self.tokens + self._reserved + tokens)
                if wanted is None:
                    raise InputError("the cost is limited and the price isn't known; set the price too")
                if not wanted <= self.max_cost:  # a limit of NaN allows nothing
                    raise CostLimitError(
                        f"the next request would bring the cost to about ${wanted:.4f}, and --max-cost is "
                        f"${self.max_cost:g}; {self.queries} answers are cached: raise --max-cost to continue"
                    )
            self._reserved += tokens

    def release(self, reserved: int) -> None:
        """Give back what `reserve` set aside, once the request has ended."""
        with self._lock:
            self._reserved -= reserved

    def spend(self, tokens: int, queries: int) -> None:
        """Count a request that the service charges for, and the queries that it answered."""
        with self._lock:
            self.requests += 1
            self.tokens += tokens
            self.queries += queries

    def answer(self, queries: int) -> None:
        """Count queries that came back whole from a request already counted."""
        with self._lock:
            self.queries += queries

    def hit(self, queries: int) -> None:
        """Count queries that the cache answered."""
        with self._lock:
            self.cached += queries

    def summary(self) -> str:
        """One line for people."""
        cost = "" if self.cost is None else f", about ${self.cost:.4f}"
        asked = f"{self.queries} queries in {self.requests} requests, {self.cached} from the cache"
        return f"{asked}, {self.tokens} tokens{cost}"
