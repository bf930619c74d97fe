"""Bars with intervals, as SVG that stands in a page; drawn by pygal."""

import re
import sys
from collections.abc import Sequence
from itertools import count
from typing import Any

from markupsafe import Markup

from unembed_audit.report.rates import Rate

__all__ = ["LOOK", "bars", "chart_library", "standalone"]

ROW, MARGIN, WIDTH = 30, 70, 680  # pixels
LABEL = 34  # characters
LOOK: dict[str, Any] = {  # of every chart in a report
    "background": "transparent",
    "plot_background": "transparent",
    "foreground": "#333333",
    "foreground_strong": "#111111",
    "font_family": "system-ui, sans-serif",
    "opacity": "1",
    "transition": "0s",
}
_numbers = count(1)


def bars(labels: Sequence[str], rates: Sequence[Rate], *, title: str) -> Markup:
    """Shares as horizontal bars with their 95 % intervals, the first on top; labels are escaped by the library.

    Everything lies within the SVG: no script, style sheet, font or image from elsewhere. The page says the same in a
    table; for who can't see it, the drawing has `title` alone.
    """
    pygal, Style = chart_library()
    style = Style(
        **LOOK,
        foreground_subtle="#777777",
        colors=("#d99a86",),
        label_font_size=13,
        major_label_font_size=13,
        value_font_size=12,
    )
    chart = pygal.HorizontalBar(
        style=style,
        js=[],
        show_legend=False,
        disable_xml_declaration=True,
        explicit_size=True,
        width=WIDTH,
        height=MARGIN + ROW * len(labels),
        range=(0, 100),
        y_labels=[0, 25, 50, 75, 100],
        value_formatter=lambda value: f"{value:.0f} %",
        spacing=8,
        margin=6,
        margin_right=28,
        pretty_print=False,
    )
    # Its bars begin at the bottom.
    pairs = list(zip(labels, rates, strict=True))[::-1]
    chart.x_labels = [label if len(label) <= LABEL else label[: LABEL - 1] + "…" for label, _ in pairs]
    chart.add(
        title,
        [
            {
                "value": 100 * (rate.share or 0.0),
                "ci": {"low": 100 * rate.low, "high": 100 * rate.high},
            }
            for _, rate in pairs
        ],
    )
    return standalone(chart, title)


def standalone(chart: Any, title: str) -> Markup:
    """A pygal chart as SVG that stands in a page: no comment, script or tooltip is left, and no name of its own."""
    drawn = chart.render(is_unicode=True)
    drawn = re.sub(r"<!--.*?-->", "", drawn, flags=re.DOTALL)
    drawn = drawn.replace(f"chart-{chart.uuid}", f"chart-{next(_numbers)}")
    # What only its scripts use: the chart's settings and the contents of tooltips.
    drawn = re.sub(r"<script.*?</script>|<desc[^>]*>.*?</desc>|<title>.*?</title>", "", drawn, flags=re.DOTALL)
    drawn = drawn.replace("<svg ", f'<svg role="img" aria-label="{Markup.escape(title)}" ', 1)
    return Markup(drawn)


def chart_library() -> tuple[Any, Any]:
    """pygal and its style, without the finder of modules that it leaves behind.

    That one has no `find_spec`: Python 3.11 warns of it at every later import, and only map plugins need it.
    """
    before = list(sys.meta_path)
    import pygal
    from pygal.style import Style

    sys.meta_path[:] = [finder for finder in sys.meta_path if finder in before or hasattr(type(finder), "find_spec")]
    return pygal, Style
