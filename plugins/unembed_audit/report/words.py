"""What a report says in sentences: its summary, how its figures were had, what would change them."""

import shlex
from collections.abc import Mapping
from typing import Any

from unembed_audit.findings.kinds import KINDS

__all__ = ["actions", "changes", "defend_command", "method", "percent", "sentences"]

NAMED = 5  # kinds that the summary names


def sentences(report: Mapping[str, Any]) -> list[str]:
    """The summary, a sentence or two a paragraph, the first for who reads no further."""
    overall, store = report["overall"], report["store"]
    given = overall["disclosed"]
    if report["rows"] == 0:
        return ["No record was looked at."]
    told = []
    if given["share"] is None:
        told.append(
            f"{report['rows']} records were inverted, and nothing tells how many came back right: the store holds no "
            "texts to compare with, and the inverter has no calibration for these vectors."
        )
    else:
        sure = "" if report["method"] == "measured" else " by estimate"
        if given["low"] != given["high"]:
            sure += f" (95 % interval {_share(given['low'])} to {_share(given['high'])})"
        records = store["records"] + store["deleted"]
        looked = f", {_number(report['rows'])} of which were looked at," if report["rows"] < records else ""
        told.append(
            f"{_share(given['share'])} of the {_number(records)} records in this store{looked} give away their text or "
            f"something that matters in it{sure}, to whoever can read the vectors and ask the model that made them. "
            f"{_share(overall['exact']['share'])} come back word for word."
        )
    likely = [kind for kind in report["by_kind"] if (kind["right"] or 0) >= 1]
    likely.sort(key=lambda kind: -kind["severity"])
    if likely:
        # Counts as the table of kinds has them, to whole numbers.
        parts = [_counted(round(kind["right"]), KINDS[kind["kind"]].one, kind["label"]) for kind in likely[:NAMED]]
        if (others := len(likely) - NAMED) > 0:
            parts.append(f"{others} more kind{'s' if others > 1 else ''}")
        told.append(f"Among {_number(report['rows'])} records looked at there came back {_list(parts)}.")
    if store["deleted"]:
        share = report["deleted"]["disclosed"]["share"]
        if store["deleted"] == 1:
            told.append("The vector of 1 deleted record is still in the store's files.")
        else:
            more = "" if share is None else f"; {_share(share)} of them give something away"
            told.append(f"The vectors of {_number(store['deleted'])} deleted records are still in its files{more}.")
    if store["foreign"]:
        told.append(
            f"{_number(store['foreign'])} more records have another model's vectors; those were left out, and what "
            "they give away isn't known."
        )
    if not report["conditions"]["names_found"]:
        told.append("Names of people and diagnoses were not looked for, so what matters is undercounted.")
    return told


def actions(report: Mapping[str, Any]) -> list[str]:
    """What whoever keeps the store can do, the most pressing first."""
    lines = []
    if report["store"]["deleted"]:
        lines.append(
            "Remove what was deleted: compact or rebuild the store and its backups, then audit again. Where people "
            "asked for the deletion, it isn't done yet."
        )
    secrets = next((kind for kind in report["by_kind"] if kind["kind"] == "secret"), None)
    if secrets is not None and (secrets["right"] is None or secrets["right"] >= 0.5):
        lines.append("Change the passwords and keys that were found, and keep such records out of the store.")
    lines += [
        "Give the vectors, their snapshots and backups the protection that the texts have: the same classification, "
        "access rights, encryption and retention.",
        "Keep the embedding model's keys from whoever can read the vectors: the search needs both.",
        "Leave out of the texts, before they are embedded, what a search doesn't need: names, numbers, secrets.",
        "Before vectors leave your hands, audit the copy that leaves: rounding alone hides little.",
    ]
    return lines


def defend_command(report: Mapping[str, Any]) -> str:
    """What to type to see which defences would have helped on that store, or on texts like its own."""
    conditions = report["conditions"]
    data = shlex.quote(conditions["place"]) if report["method"] in ("measured", "mixed") else "TEXTS"
    return f"unembed defend --data {data} --inverter {shlex.quote(conditions['inverter'])}"


def method(report: Mapping[str, Any]) -> str:
    """How the figures were had."""
    return {
        "measured": "Measured: the originals lie beside the vectors, and what came back was compared with them.",
        "estimated": "Estimated: no originals lie beside the vectors; probabilities calibrated on other texts stand "
        "in. They hold for texts like those that the inverter was measured on.",
        "mixed": f"Measured for the {report['measured']} records whose originals lie beside the vectors, estimated "
        "from calibrated probabilities for the others.",
        "none": "Neither measured nor estimated: there are no originals and no calibration.",
    }[str(report["method"])]


def changes(report: Mapping[str, Any]) -> list[str]:
    """What would move the figures, up or down."""
    conditions = report["conditions"]
    lines = [
        f"A higher effort than {conditions['effort']} recovers more and takes more queries; no result here is an "
        "upper bound.",
        "An inverter trained on texts like yours recovers more; longer texts give back less word for word.",
        "Noise or a secret rotation of the vectors changes what comes back, and what a search in the store is worth. "
        "An attacker who knows of it gets more than this audit would.",
        "Without query access to the embedder only the inverter's first guess is left.",
    ]
    if report["method"] in ("estimated", "mixed"):
        lines.insert(1, "Texts beside the vectors would let these figures be measured instead of estimated.")
    if not conditions["names_found"]:
        lines.insert(1, "With a tagger of names the counts of findings rise.")
    if conditions["sample"] is not None:
        lines.append("A larger --sample narrows the intervals; --all leaves none from sampling.")
    if not conditions["shown"]:
        lines.append(
            "Blotting out hides what the detectors found; what they overlooked stays readable. Treat this report as "
            "confidential."
        )
    return lines


def percent(value: float) -> str:
    """A share in words' precision: none that is short of all is rounded to all."""
    if 0.995 <= value < 1:
        return "over 99 %"
    return f"{100 * value:.0f} %" if value == 0 or value >= 0.095 else f"{100 * value:.1f} %"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else percent(value)


def _number(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}") if value >= 10_000 else str(value)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
