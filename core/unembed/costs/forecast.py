"""What an inversion can cost, before anything is spent."""

from typing import Any

from unembed.contract.proposers import Editor
from unembed.defaults import COMBINATIONS, COMBINED
from unembed.engine.effort import Effort
from unembed.inversion.inverter import Inverter

__all__ = ["forecast"]


def forecast(inverter: Inverter, count: int, *, tokens: int, effort: Effort) -> dict[str, Any]:
    """What inverting `count` targets of about `tokens` tokens can take: the most queries, and what they would cost.

    Tokens and dollars are estimates, no bounds: a candidate may be longer than its target. Every step may query
    `branch` new corrections of each of `beam` hypotheses, edits and their combinations; most runs stop long before.
    """
    edits = effort.elite * effort.edits if inverter.editor is not None else 0
    edits += COMBINATIONS * COMBINED if edits and isinstance(inverter.editor, Editor) else 0
    most = (effort.guesses or effort.beam) + effort.steps * (effort.beam * effort.branch + edits) + 1
    queries = count * (most if effort.max_queries is None else min(most, effort.max_queries))
    meter = inverter.embedder.meter
    return {
        "queries": queries,
        "tokens": queries * tokens,
        "cost": None if meter is None else meter.dollars(queries * tokens),
    }
