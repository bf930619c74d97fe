"""The seed's question, answered from the figures in plain words, with what can't be concluded."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from unembed_defend.report.words import NAMES, percent

__all__ = ["answers", "limits", "table"]

Cell = Mapping[str, Any]


def answers(report: Mapping[str, Any]) -> list[str]:
    """A sentence or two on each part of the question; those alone whose figures are known."""
    cells = report["cells"]
    lines = [_lengths(cells), *_widths(cells), *_precisions(cells), _nats(cells), _information(cells), _search(cells)]
    return [line for line in [*lines, *map(_fit, report["fits"])] if line]


def limits(report: Mapping[str, Any]) -> list[str]:
    """What the figures hold for, and what they don't show."""
    conditions = report["conditions"]
    longest = conditions["longest"]
    lines = [
        f"One embedder ({conditions['embedder']}), one inverter ({conditions['inverter']}), and one kind of texts: the "
        f"openings of {conditions['texts']} long passages, the same at every length. Other texts come back better or "
        "worse.",
        "All figures are what this network and this search reach, so lower bounds of what a vector gives away. A "
        "larger network or a wider search gets more; how much more isn't known.",
        "Nats left are the network's own cross-entropy of its first guess, the end of a text included: an upper bound "
        "of what the vector leaves unsaid to a better reader.",
        "A network writes best what it was trained on, so length is confounded with training: a fall along the lengths "
        "is the vector's and the network's together.",
        "Near edits are random changes of one or two words. That none of them lies nearer doesn't say that no other "
        "text does.",
        "The attacker may ask the embedder and the reduction, and has pairs of other texts. A narrower model that was "
        "trained to be narrow isn't what PCA or a projection makes of a wide one.",
    ]
    if conditions["unwritten"]:
        few = ", ".join(map(str, conditions["unwritten"]))
        lines.insert(
            0,
            f"The inverter writes up to {longest} tokens: at {few} nothing was searched for, and only near edits were "
            "compared. Another one is taken with --inverter.",
        )
    if not conditions["hears"]:
        lines.append("The network never learned to be told of noise; one that did gets more of coarse vectors.")
    return lines


def table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The table's head and rows, one a cell."""
    head = ["tokens", "width", "way", "precision", "mapped back", "texts", "exact", "content", "nats left"]
    names = [name for name in _metrics(report["cells"]) if name != "exact_match"]
    head[7:7] = [NAMES.get(name, name) for name in names]
    head += ["truth nearest", "margin"]
    rows = []
    for cell in report["cells"]:
        found, edits = cell["recovery"], cell["edits"]
        row = [str(cell["length"]), str(cell["width"]), cell["way"] or "full", cell["precision"]]
        row += [f"{cell['mapped']:.3f}", "–" if found is None else str(found["n"])]
        row.append("–" if found is None else percent(found["exact_match"]))
        row += ["–" if found is None else f"{found[name]:.3g}" for name in names]
        row.append("–" if found is None else percent(found["content"]))
        row.append("–" if found is None or found["nats"] is None else f"{found['nats']:.1f}")
        row.append("–" if edits is None else percent(edits["nearest"]))
        row.append("–" if edits is None else f"{edits['margin']:.2g}")
        rows.append(row)
    return head, rows


def _metrics(cells: Sequence[Cell]) -> list[str]:
    beside = {"n", "content", "nats", "wrong", "elsewhere", "queries_per_item", "ci"}
    found: Mapping[str, Any] = next((cell["recovery"] for cell in cells if cell["recovery"] is not None), {})
    return [name for name in found if name not in beside]


def _known(cells: Sequence[Cell], **wanted: Any) -> list[Cell]:
    return [
        cell
        for cell in cells
        if cell["recovery"] is not None and all(cell[name] == value for name, value in wanted.items())
    ]


def _exact(cells: Sequence[Cell]) -> float:
    return fmean(cell["recovery"]["exact_match"] for cell in cells)


def _lengths(cells: Sequence[Cell]) -> str:
    clean = _known(cells, reduction="clean")
    if not clean:
        return ""
    said = ", ".join(
        f"{percent(cell['recovery']['exact_match'])} at {cell['length']} tokens"
        + (f" ({percent(cell['recovery']['content'])} of content words)" if cell["recovery"]["content"] else "")
        for cell in clean
    )
    return f"Length, at full width and precision: exact {said}."


def _widths(cells: Sequence[Cell]) -> list[str]:
    lines = []
    for way, name in (("pca", "PCA"), ("randproj", "A random projection")):
        widths = sorted({cell["width"] for cell in _known(cells, way=way, precision="float32")}, reverse=True)
        said = []
        for width in widths:
            narrow = _known(cells, way=way, width=width, precision="float32")
            full = [
                cell for cell in _known(cells, reduction="clean") if cell["length"] in {c["length"] for c in narrow}
            ]
            if full:
                said.append(f"{percent(_exact(narrow))} at {width} wide (full: {percent(_exact(full))})")
        if said:
            lines.append(f"Width. {name} leaves exact, over all lengths: {', '.join(said)}.")
    return lines


def _precisions(cells: Sequence[Cell]) -> list[str]:
    lines = []
    for precision in ("int8", "1 bit"):
        pairs = [
            (coarse, fine)
            for coarse in _known(cells, precision=precision)
            for fine in _known(cells, precision="float32", width=coarse["width"], way=coarse["way"])
            if fine["length"] == coarse["length"]
        ]
        if pairs:
            a, b = _exact([pair[0] for pair in pairs]), _exact([pair[1] for pair in pairs])
            lines.append(
                f"Precision. {precision}: exact {percent(a)}, against {percent(b)} in float32, over all cells."
            )
    return lines


def _nats(cells: Sequence[Cell]) -> str:
    known = [cell for cell in _known(cells) if cell["recovery"]["nats"] is not None]
    if not known:
        return ""
    least, most = (pick(known, key=lambda cell: cell["recovery"]["nats"] / cell["length"]) for pick in (min, max))
    said = " to ".join(
        f"{cell['recovery']['nats'] / cell['length']:.2f} ({cell['length']} tokens, {cell['label']})"
        for cell in (least, most)
    )
    return f"Nats that the first guess lacks, a token: from {said}."


def _information(cells: Sequence[Cell]) -> str:
    known = [cell for cell in cells if cell["edits"] is not None]
    if not known:
        return ""
    least = min(known, key=lambda cell: cell["edits"]["nearest"])
    every = fmean(cell["edits"]["nearest"] for cell in known)
    return (
        f"Information. The text lies nearer to its stored vector than all of about {least['edits']['edits']:,.0f} near "
        f"edits for {percent(every)} of texts over all cells; least often at {least['length']} tokens, "
        f"{least['label']}: {percent(least['edits']['nearest'])}."
    )


def _search(cells: Sequence[Cell]) -> str:
    known = _known(cells)
    wrong, elsewhere = (sum(cell["recovery"][name] for cell in known) for name in ("wrong", "elsewhere"))
    if not wrong:
        return ""
    return (
        f"Search. Of {wrong:,} texts that didn't come back exactly, {elsewhere:,} ended at another text that is stored "
        f"alike: there the information is gone. For the other {wrong - elsewhere:,} the text itself would have scored "
        "higher than what was found: the search is at fault, not the vector."
    )


def _fit(fit: Mapping[str, Any]) -> str:
    cell = fit["left_out"]["cell"]
    if cell is None:
        return ""
    more = "".join(
        f"; left out a whole {name} at a time, {found['mean']:.1f}"
        for name in ("length", "width")
        if (found := fit["left_out"][name]) is not None
    )
    verdict = "within" if cell["mean"] <= 5 else "not within"
    return (
        f"Prediction of {fit['measure']} from {fit['features']}: cells left out are off by {cell['mean']:.1f} points "
        f"on average ({verdict} 5), {cell['most']:.0f} at most, {percent(cell['within'])} of them by 5 or less{more}. "
        f"Chance alone makes about {fit['chance']:.1f} of so few texts."
    )
