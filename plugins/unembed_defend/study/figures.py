"""The study's figures: a cell for each length and reduction, and what was fitted to them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from unembed import Inverter
from unembed.inversion.bootstrap import bootstrap, mean
from unembed_defend.searching import Row, figures
from unembed_defend.study.fitting import fits
from unembed_defend.study.grid import Reduction
from unembed_text.content import content_share

__all__ = ["report_of"]

SOLVED = 1 - 1e-5  # similarity from which a search has arrived, at the text or at another that is stored alike


def report_of(
    inverter: Inverter,
    texts: Mapping[int, Sequence[str]],
    reductions: Sequence[Reduction],
    rows: Sequence[Row],
    conditions: Mapping[str, Any],
    cosines: Mapping[str, float],
    *,
    complete: bool,
) -> dict[str, Any]:
    """The whole report, from all rows that are known; a cell without any has no figures yet."""
    known: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        known[row["part"], row["reduction"], row["length"]].append(row)
    cells = []
    for length in texts:
        for one in reductions:
            searched = known["searched", one.name, length]
            edited = known["edited", one.name, length]
            cells.append(
                {
                    "length": length,
                    "reduction": one.name,
                    "label": one.label,
                    "width": one.width,
                    "way": one.way,
                    "precision": one.precision,
                    "bits": one.bits,
                    "mapped": cosines[one.name],
                    "recovery": _recovery(inverter, texts[length], searched) if searched else None,
                    "edits": _edits(edited) if edited else None,
                }
            )
    return {"complete": complete, "conditions": dict(conditions), "cells": cells, "fits": fits(cells)}


def _recovery(inverter: Inverter, texts: Sequence[str], rows: Sequence[Row]) -> dict[str, Any]:
    """Metrics with their intervals, content words, nats left, and searches that arrived elsewhere."""
    found = figures(inverter, texts, rows)
    shares = [content_share(texts[row["text"]], row["recovered"]) for row in rows]
    content = [share for share in shares if share is not None]
    nats = [row["nats"] for row in rows if row["nats"] is not None]
    found["content"] = sum(content) / len(content) if content else None
    if content:
        counts = torch.tensor([[share, 1.0] for share in content], dtype=torch.float64)
        found["ci"]["content"] = list(bootstrap(counts, mean))
    found["nats"] = sum(nats) / len(nats) if nats else None
    if nats:
        counts = torch.tensor([[value, 1.0] for value in nats], dtype=torch.float64)
        found["ci"]["nats"] = list(bootstrap(counts, mean))
    wrong = [row for row in rows if not row["exact"]]
    found["wrong"] = len(wrong)
    found["elsewhere"] = sum(row["similarity"] >= SOLVED for row in wrong)
    return found


def _edits(rows: Sequence[Row]) -> dict[str, Any]:
    """How often the text was nearer than all near edits, and the middle of the margins."""
    margins = torch.tensor([row["margin"] for row in rows], dtype=torch.float64)
    return {
        "n": len(rows),
        "edits": sum(row["edits"] for row in rows) / len(rows),
        "nearest": sum(row["nearest"] for row in rows) / len(rows),
        "margin": float(margins.quantile(0.5)),
    }
