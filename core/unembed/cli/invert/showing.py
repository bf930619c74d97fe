"""Results on standard output."""

import json
import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from unembed.inversion.results import Row

__all__ = ["print_rows"]

VERDICTS = {
    "unlike": "unlike any embedding of this model",
    "longer": "probably of a longer input",
    "unseen": "with what the embedder can't see",
}


def print_rows(rows: "list[Row]", as_json: bool) -> None:
    """Print rows: a JSON object per line, or words for people."""
    for row in rows:
        if as_json:
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            _show(row)


def _show(row: dict[str, Any]) -> None:
    verdict = {True: ", exact", False: ", not exact", None: ""}[row["exact"]]
    name = f"vector {row['index']}" if "index" in row else row["input"]
    click.echo(click.style(f"{name} ({row['id']})" if "id" in row else name, bold=True))
    click.echo(f"  {row['reconstruction']}")
    similarity = "unknown" if row["similarity"] is None else f"{row['similarity']:.4f}"
    sure = "" if row["confidence"] is None else f", exact with probability {_short_of_certain(row['confidence'])}"
    said = "" if row["verdict"] is None else f"; {VERDICTS.get(row['verdict'], row['verdict'])}"
    click.echo(f"  similarity {similarity}{sure}{verdict}{said}; {row['steps']} steps, {row['queries']} queries")
    if "words" in row:
        known = None if row["words"] is None else [f"{word} {_short_of_certain(sure)}" for word, sure in row["words"]]
        click.echo("  " + ("words aren't calibrated" if known is None else ", ".join(known)))


def _short_of_certain(probability: float) -> str:
    """To three digits, rounded down: no sample shows certainty."""
    return f"{math.floor(1000 * probability) / 1000:.3f}"
