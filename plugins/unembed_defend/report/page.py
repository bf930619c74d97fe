"""report.html: one page without scripts that loads nothing, in which a hostile text stays a text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unembed_audit.report.page import TEMPLATES as AUDIT
from unembed_defend.report.chart import leak_against_use
from unembed_defend.report.words import NAMES, USES, caveats, percent, table, verdict

__all__ = ["page"]

TEMPLATES = Path(__file__).parent / "templates"


def page(report: Mapping[str, Any]) -> str:
    """The page of a report as `report_of` gives it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    head, rows = table(report)
    metric = report["conditions"]["metric"]
    return environment.get_template("report.html.j2").render(
        r=report,
        style=Markup((AUDIT / "report.css").read_text(encoding="utf-8")),
        chart=None if report["use"] is None else leak_against_use(report, USES[report["use"]]),
        use=None if report["use"] is None else USES[report["use"]],
        head=head,
        rows=rows,
        verdicts=[verdict(entry) for entry in report["defences"]],
        caveats=caveats(report),
        metric=metric,
        metric_name=NAMES.get(metric, metric),
        percent=percent,
    )
