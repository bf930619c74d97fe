"""Leak against use, as SVG that stands in a page; drawn by pygal, as the audit's bars are."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from unembed_audit.report.charts import LOOK, chart_library, standalone

__all__ = ["leak_against_use"]

WIDTH, HEIGHT = 760, 440  # pixels
TITLE = "Leak against use"


def leak_against_use(report: Mapping[str, Any], use: str) -> Markup | None:
    """A dot a defence, and a line through those that no other beats in both; None where use wasn't measured.

    Everything lies within the SVG; names are escaped by the library. The page says the same in its table.
    """
    points = [(one["defence"], one["share"], one["use_kept"]) for one in report["defences"]]
    known = {name: (100 * leak, 100 * kept) for name, leak, kept in points if leak is not None and kept is not None}
    if not known:
        return None
    pygal, Style = chart_library()
    style = Style(
        **LOOK,
        foreground_subtle="#bbbbbb",
        label_font_size=12,
        major_label_font_size=12,
        legend_font_size=12,
        title_font_size=13,
    )
    chart = pygal.XY(
        style=style,
        js=[],
        stroke=False,
        dots_size=5,
        disable_xml_declaration=True,
        explicit_size=True,
        width=WIDTH,
        height=HEIGHT,
        truncate_legend=-1,
        x_title="leak: % of what clean vectors give back",
        y_title=f"use: % of the {use} of clean vectors",
        xrange=(0, max(100.0, *(leak for leak, _ in known.values()))),
        range=(0, max(100.0, *(kept for _, kept in known.values()))),
        value_formatter=lambda value: f"{value:.0f}",
        x_value_formatter=lambda value: f"{value:.0f}",
        pretty_print=False,
    )
    for name, point in known.items():
        chart.add(name, [point])
    front = [known[name] for name in report["front"] if name in known]
    if len(front) > 1:
        chart.add("not beaten in both", front, stroke=True, show_dots=False)
    return standalone(chart, TITLE)
