"""What an inversion can cost, before anything is spent."""

from typing import Any

from unembed.engine.effort import Effort
from unembed.inversion.inverter import Inverter

__all__ = ["forecast"]


def forecast(inverter: Inverter, count: int, *, tokens: int, effort: Effort) -> dict[str, Any]:
    """What inverting `count` targets of about `tokens` tokens can take: the most queries, and what they would cost.

    Tokens and dollars are estimates, no bounds: a candidate may be longer than its target. Queries are the most that
    the effort's moves may ask in every step, and one to measure what is returned; most runs stop long before.
    """
    most, limit = effort.fitted(inverter.parts).most() + 1, effort.limits.max_queries
    queries = count * (most if limit is None else min(most, limit))
    meter = inverter.embedder.meter
    return {
        "queries": queries,
        "tokens": queries * tokens,
        "cost": None if meter is None else meter.dollars(queries * tokens),
    }
