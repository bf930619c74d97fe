"""The report's figures, from what each attacker got of each defence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unembed_defend.report.words import USES

__all__ = ["Cell", "defence_entry", "front", "report_of", "use_of"]


@dataclass(frozen=True)
class Cell:
    """What one attacker got: `state` is "ran", "passed over", "not run" or "doesn't apply", and `why` says more.

    `cosine` is that of their vectors and the clean ones; `figures` are those of what came back, `share` the metric as a
    share of what the same texts give without a defence. `same` names the attacker whose results these are too.
    """

    attacker: str
    state: str
    why: str
    cosine: float | None = None
    figures: Mapping[str, Any] | None = None
    share: float | None = None
    same: str | None = None


def defence_entry(
    name: str,
    granted: str,
    cells: Sequence[Cell],
    *,
    cosine: float | None,
    mapped: float | None,
    use: Mapping[str, Any],
    size: float,
    metric: str,
) -> dict[str, Any]:
    """A defence's part of the report. The strongest attacker is the one whose figure is best, on the most texts."""
    ran = [cell for cell in cells if cell.figures is not None]
    strongest = max(ran, key=lambda cell: _strength(cell, metric), default=None)
    return {
        "defence": name,
        "granted": granted,
        "cosine": cosine,
        "mapped": mapped,
        "strongest": None if strongest is None else strongest.attacker,
        "share": None if strongest is None else strongest.share,
        "figures": None if strongest is None else dict(strongest.figures or {}),
        "missing": [cell.attacker for cell in cells if cell.state == "not run"],
        "use": dict(use),
        "bytes": size,
        "attackers": [_cell(cell) for cell in cells],
    }


def _strength(cell: Cell, metric: str) -> tuple[int, float, float]:
    figures = cell.figures or {}
    return figures["n"], figures[metric], cell.cosine or 0.0


def _cell(cell: Cell) -> dict[str, Any]:
    figures = None if cell.figures is None else dict(cell.figures)
    return {
        "attacker": cell.attacker,
        "state": cell.state,
        "why": cell.why,
        "cosine": cell.cosine,
        "share": cell.share,
        "same": cell.same,
        "figures": figures,
    }


def report_of(entries: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any], *, complete: bool) -> dict[str, Any]:
    """The whole report: the clean vectors' entry comes first among `entries`."""
    clean, *defences = entries
    use = next((name for name in USES if clean["use"][name] is not None), None)
    kept = {entry["defence"]: use_of(entry, clean, use) for entry in entries}
    return {
        "complete": complete,
        "conditions": dict(conditions),
        "use": use,
        "clean": dict(clean),
        "defences": [{**entry, "use_kept": kept[entry["defence"]]} for entry in defences],
        "front": front([(entry["defence"], entry["share"], kept[entry["defence"]]) for entry in defences]),
    }


def use_of(entry: Mapping[str, Any], clean: Mapping[str, Any], use: str | None) -> float | None:
    """A defence's figure of use as a share of that of clean vectors; None where it wasn't measured."""
    if use is None or entry["use"][use] is None or not clean["use"][use]:
        return None
    return float(entry["use"][use]) / float(clean["use"][use])


def front(points: Sequence[tuple[str, float | None, float | None]]) -> list[str]:
    """Of (name, leak, use) the names that no other beats in both: less leak and as much use, or the other way."""
    known = [(name, leak, use) for name, leak, use in points if leak is not None and use is not None]
    best = [
        (name, leak, use)
        for name, leak, use in known
        if not any(
            other_leak <= leak and other_use >= use and (other_leak, other_use) != (leak, use)
            for _, other_leak, other_use in known
        )
    ]
    return [name for name, _, _ in sorted(best, key=lambda point: (point[1], point[2]))]
