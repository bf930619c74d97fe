"""The files of a study: the page, the figures and the picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unembed_audit.report.page import TEMPLATES as AUDIT
from unembed_defend.report.page import TEMPLATES
from unembed_defend.report.writing import write_file
from unembed_defend.study.chart import as_png, by_length
from unembed_defend.study.words import answers, limits, table

__all__ = ["page", "write_study"]


def write_study(folder: Path, report: Mapping[str, Any]) -> None:
    """Write `report.json`, `report.html`, `figure.svg` and `figure.png`, each whole or not at all."""
    drawn = by_length(report)
    write_file(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    write_file(folder / "report.html", page(report, drawn))
    if drawn is not None:
        write_file(folder / "figure.svg", str(drawn) + "\n")
        write_file(folder / "figure.png", as_png(str(drawn)))


def page(report: Mapping[str, Any], drawn: Markup | None) -> str:
    """The page: the question, the answer as far as it goes, the picture, the table and the limits."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    head, rows = table(report)
    return environment.get_template("study.html.j2").render(
        r=report,
        style=Markup((AUDIT / "report.css").read_text(encoding="utf-8")),
        chart=drawn,
        answers=answers(report),
        limits=limits(report),
        head=head,
        rows=rows,
    )
