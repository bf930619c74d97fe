"""What the figures mean, in sentences. Nothing is called safe."""

from collections.abc import Mapping
from typing import Any

__all__ = ["NAMES", "USES", "caveats", "percent", "table", "verdict"]

NO_DEFENCE = 0.9  # share of what clean vectors give back, from which a defence is none
NAMES = {"bleu": "BLEU", "token_f1": "F1", "exact_match": "exact"}
USES = {"ndcg": "nDCG@10", "rho": "Spearman's ρ", "neighbours": "nearest kept"}  # the first measured is drawn


def verdict(entry: Mapping[str, Any]) -> str:
    """A defence in one or two sentences."""
    name, share = entry["defence"], entry["share"]
    if share is None:
        return f"{name}: nothing is known, since no attacker gave a figure."
    who = f"the strongest attacker that was run ({entry['strongest']}) gets {percent(share)} of what clean vectors give"
    if share >= NO_DEFENCE:
        return f"{name} is no defence: {who}."
    if entry["missing"]:
        left = ", ".join(entry["missing"])
        return f"{name}: {who}. That is a lower bound: not run, though they would apply: {left}."
    return f"{name}: {who}. Every attacker known here was run; a stronger one may exist."


def caveats(report: Mapping[str, Any]) -> list[str]:
    """What the figures hold for, and what would change them."""
    conditions = report["conditions"]
    lines = [
        f"Leak is {NAMES.get(conditions['metric'], conditions['metric'])} of what comes back at effort "
        f"{conditions['effort']}, as a share of what the same texts give without a defence. A higher effort or a "
        "better inverter gets more of both.",
        "The cosine is the mean between defended and clean vectors, the one scale for all defences; mapped back, after "
        "the best linear map, which is what pairs of vectors and texts come to.",
        "Attackers may ask the embedding model, and have clean vectors of other texts of the same kind.",
    ]
    if conditions["pilot"] < conditions["texts"]:
        lines.append(
            f"Every attacker was tried on {conditions['pilot']} texts, and the strongest of them on all "
            f"{conditions['texts']}; --pilot 0 tries all on all."
        )
    if conditions["retrain"] is None:
        lines.append(
            "No network was trained against any defence (--retrain MINUTES, on a GPU): where that would help, a "
            "defence is worth at most what stands here."
        )
    if report["use"] == "neighbours":
        lines.append(
            "Use is measured by neighbours alone: the share of each text's ten nearest that stay. --retrieval and "
            "--pairs measure it on judged queries and sentence pairs."
        )
    lines.append("Queries are not stored, and go without noise and rounding; dcpe encrypts them as it does vectors.")
    return lines


def table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The table's head and its rows, the clean vectors first."""
    metrics = report["conditions"]["metrics"]
    head = ["defence", "cosine", "mapped back", "strongest attacker", *(NAMES.get(name, name) for name in metrics)]
    head += ["of clean", *USES.values(), "ms", "bytes"]
    rows = []
    for entry in (report["clean"], *report["defences"]):
        figures, use = entry["figures"] or {}, entry["use"]
        rows.append(
            [
                entry["defence"],
                _number(entry["cosine"], 3),
                _number(entry["mapped"], 3),
                entry["strongest"] or "none ran",
                *(_metric(name, figures.get(name)) for name in metrics),
                percent(entry["share"]),
                _number(use["ndcg"], 3),
                _number(use["rho"], 3),
                percent(use["neighbours"]),
                _number(use["milliseconds"], 2),
                f"{entry['bytes']:,.0f}",
            ]
        )
    return head, rows


def percent(value: float | None) -> str:
    """A share, as people read it."""
    return "–" if value is None else f"{100 * value:.0f} %"


def _metric(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return percent(value) if name in ("exact_match", "token_f1") else f"{value:.1f}" if value > 1 else f"{value:.2f}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
