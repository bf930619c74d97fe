"""What comes back by length, a line for each width and precision, as SVG and PNG."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from unembed_audit.report.charts import LOOK, chart_library, standalone

__all__ = ["as_png", "by_length"]

WIDTH, HEIGHT = 860, 520  # pixels
SCALE = 2  # of the PNG
COLOURS = ("#1d1d1f", "#a33b20", "#3d6e8f", "#7b8f3d", "#8f5c9c", "#c08a2d")  # of widths, the widest first
DASHES = {"float32": None, "int8": "8, 4", "1 bit": "2, 3"}
MEASURES = {"content": "content words that come back, %", "exact_match": "exact, %"}


def by_length(report: Mapping[str, Any]) -> Markup | None:
    """Lines of full width and of PCA; None where nothing was searched for. The page says the same in its table.

    They show content words, or exact texts where texts have none.
    """
    cells = [cell for cell in report["cells"] if cell["recovery"] is not None and cell["way"] != "randproj"]
    measure = next((name for name in MEASURES if any(cell["recovery"][name] is not None for cell in cells)), None)
    if measure is None:
        return None
    widths = sorted({cell["width"] for cell in cells}, reverse=True)
    lines = [(width, precision) for width in widths for precision in DASHES]
    colours = tuple(COLOURS[widths.index(width) % len(COLOURS)] for width, _ in lines)
    pygal, Style = chart_library()
    style = Style(
        **LOOK,
        foreground_subtle="#bbbbbb",
        guide_stroke_color="#dddddd",
        major_guide_stroke_color="#bbbbbb",
        colors=colours,
        label_font_size=12,
        major_label_font_size=12,
        legend_font_size=12,
        title_font_size=13,
    )
    lengths = sorted({cell["length"] for cell in cells})
    chart = pygal.XY(
        style=style,
        js=[],
        dots_size=3,
        disable_xml_declaration=True,
        explicit_size=True,
        width=WIDTH,
        height=HEIGHT,
        truncate_legend=-1,
        x_title="tokens of a text",
        y_title=MEASURES[measure],
        xrange=(0, max(lengths)),
        range=(0, 100),
        x_labels=lengths,
        value_formatter=lambda value: f"{value:.0f}",
        x_value_formatter=lambda value: f"{value:.0f}",
        pretty_print=False,
    )
    for width, precision in lines:
        points = [
            (cell["length"], 100 * cell["recovery"][measure])
            for cell in cells
            if (cell["width"], cell["precision"]) == (width, precision) and cell["recovery"][measure] is not None
        ]
        dash = {} if DASHES[precision] is None else {"stroke_style": {"dasharray": DASHES[precision]}}
        chart.add(f"{width}, {precision}", points, **dash)
    return standalone(chart, f"What comes back by length: {MEASURES[measure]}")


def as_png(drawn: str) -> bytes:
    """The picture on white, at twice its size; letters are of the fonts that the machine has."""
    import resvg_py

    return bytes(
        resvg_py.svg_to_bytes(svg_string=drawn, background="#ffffff", zoom=SCALE, sans_serif_family="DejaVu Sans")
    )
