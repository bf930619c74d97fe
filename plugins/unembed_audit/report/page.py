"""report.html: one page without scripts that loads nothing, in which a hostile text stays a text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unembed_audit.findings.kinds import KINDS
from unembed_audit.report.charts import bars
from unembed_audit.report.rates import Rate
from unembed_audit.report.words import actions, changes, defend_command, method, percent, sentences

__all__ = ["page"]

TEMPLATES = Path(__file__).parent / "templates"
CHARTED = 24  # collections that fit a chart; the table has all


def page(report: Mapping[str, Any]) -> str:
    """The page of a report as `summarise` gives it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    parts = report["by_collection"][:CHARTED]
    charts = {
        "collections": bars(
            [_label(part) for part in parts],
            [_rate(part["disclosed"]) for part in parts],
            title="Share of records that gave something away, by collection",
        ),
        "lengths": bars(
            [f"{part['tokens']} tokens" for part in report["by_length"]],
            [_rate(part["exact"]) for part in report["by_length"]],
            title="Share of texts recovered exactly, by length",
        ),
    }
    return environment.get_template("report.html.j2").render(
        r=report,
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        charts=charts,
        share=percent,
        labels={name: kind.one for name, kind in KINDS.items()},
        summary=sentences(report),
        method=method(report),
        actions=actions(report),
        changes=changes(report),
        defend=defend_command(report),
        numbered=all(row["id"] == str(row["row"]) for row in report["examples"]),
    )


def _label(part: Mapping[str, Any]) -> str:
    name = part["collection"] or "all records"
    return f"{name}, deleted" if part["deleted"] and not name.startswith("(deleted") else name


def _rate(given: Mapping[str, Any]) -> Rate:
    return Rate(given["share"], given["low"], given["high"], given["n"])
