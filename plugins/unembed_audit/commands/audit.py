"""`unembed audit`: what does this store give away?"""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unembed.cli._progress import rows_progress
from unembed.cli._shared import metered
from unembed.cli.invert.claims import about_norms, note
from unembed.defaults import EFFORT, EFFORTS, INVERTER
from unembed.errors import InputError

if TYPE_CHECKING:
    from unembed.sources.source import Source

__all__ = ["audit"]

CPU_EFFORT = "low"


@click.command()
@click.argument("source")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report.  [default: named after SOURCE]",
)
@click.option(
    "--sample", type=click.IntRange(1), default=200, show_default=True, help="Maximum number of records per collection."
)
@click.option("--all", "everything", is_flag=True, help="Invert every record.")
@click.option("--collection", help="The collection, table or index to read.  [default: all]")
@click.option("--column", help="The column, array or field of the vectors.")
@click.option("--inverter", default=INVERTER, show_default=True, help="A name, a checkpoint folder or a hub id.")
@click.option("--embedder", help="Query the inverter's embedding model elsewhere: a folder, server or API.")
@click.option(
    "--effort",
    metavar="NAME",
    help=f"How hard to search: {', '.join(EFFORTS)}, or another of the inverter's.  [default: medium; low on a CPU]",
)
@click.option("--max-cost", type=click.FloatRange(0), help="Maximum US dollars spent on an embedding API.")
@click.option("--show-text", is_flag=True, help="Show recovered text in full instead of masked.")
@click.option(
    "--fail-above",
    type=click.FloatRange(0, 1),
    metavar="R",
    help="Exit 1 if a larger share of records leaks.",
)
@click.option("--force", is_flag=True, help="Continue even if another model seems to have made the vectors.")
@click.option("--restart", is_flag=True, help="Start over in a folder that holds an audit.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of the sample and the search.")
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
@click.option("--json", "as_json", is_flag=True, help="Print the report's figures as one JSON object.")
def audit(
    source: str,
    out: Path | None,
    sample: int,
    everything: bool,
    collection: str | None,
    column: str | None,
    inverter: str,
    embedder: str | None,
    effort: str | None,
    max_cost: float | None,
    show_text: bool,
    fail_above: float | None,
    force: bool,
    restart: bool,
    seed: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Invert a random sample of the vectors in SOURCE and report what they give away.

    SOURCE is a file, a folder of a store or a server's URL; it is only read. The folder --out gets report.html,
    report.json, records.jsonl and report.sarif. An audit that was stopped goes on when the same command is given again.
    """
    from unembed_audit.commands.opening import (
        belongs_to,
        check_extra,
        in_words,
        open_calibration,
        open_tagger,
        who_made,
    )

    # Importing torch and loading a model take long: what is wrong with SOURCE is said before.
    check_extra()
    opened = _before_torch(source, column, collection, inverter)

    from unembed import load
    from unembed.inversion.targets import content_of
    from unembed.registry.opening import foreseen
    from unembed_audit.auditing import Interrupted, Plan
    from unembed_audit.auditing import audit as run_audit

    if opened is None and (width := foreseen(inverter)[1]) is not None:
        opened = _opened(source, column, collection, width, inverter)
    model = load(inverter, device=device, embedder=embedder)
    effort = effort or (CPU_EFFORT if model.embedder.device.type == "cpu" else EFFORT)
    model.settings(effort)
    opened = opened or _opened(source, column, collection, model.dimension, inverter)
    opened.notes += about_norms(opened, model.embedder)
    if opened.column is not None:
        click.echo(f"reading column {opened.column}", err=True)
    for line in opened.notes:
        note(line)
    found, name = who_made(opened, model), model.embedder.name
    identified = in_words(found)
    click.echo(f"embedder: {identified}", err=True)
    belongs = belongs_to(found, name) if found.mixed and not force else None
    if belongs is not None:
        note(f"vectors of other models than {name!r} are counted and left out (--force inverts all)")
    elif not force and any(group.embedder != name for group in found.groups):
        raise InputError(
            f"the vectors of {opened.place} don't look like those of {name!r} ({identified}): choose another "
            "--inverter, or invert them all the same with --force"
        )
    tag = open_tagger(device)
    if tag is None:
        note("no tagger of names is installed; names, diagnoses and drugs are not looked for")
    plan = Plan(
        sample=None if everything else sample,
        effort=effort,
        seed=seed,
        shown=show_text,
        restart=restart,
        identified=identified,
        tag=tag,
        calibration=open_calibration(model),
        belongs=belongs,
        content=content_of(source, opened),
    )
    folder = out or Path(f"audit-{_named(source)}")
    with metered(model, max_cost), rows_progress() as on_progress:
        try:
            report = run_audit(opened, model, folder, plan, on_progress=on_progress)
        except Interrupted as error:
            kept = error.kept if error.total is None else f"{error.kept} of {error.total}"
            with on_progress.hidden():
                click.echo(
                    f"{kept} records kept; report so far: {folder / 'report.html'}; the same command goes on", err=True
                )
            raise
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        _say(report, folder)
    share = report["overall"]["disclosed"]["share"]
    if fail_above is not None and share is None:
        raise InputError("--fail-above needs a share, and nothing tells what came back right: no texts, no calibration")
    if fail_above is not None and share > fail_above:
        click.echo(f"{100 * share:.1f} % of records give something away, more than {100 * fail_above:g} %", err=True)
        click.get_current_context().exit(1)


def _before_torch(place: str, column: str | None, collection: str | None, inverter: str) -> "Source | None":
    """The source; None, if it is there, where the width that it must have is told by a checkpoint's manifest alone."""
    from unembed import open_source
    from unembed.registry.discovery import offered

    spec = offered("inverters", inverter)
    if spec is not None and spec.dimension is not None:
        return _opened(place, column, collection, spec.dimension, inverter)
    local = "://" not in place and not os.path.exists(place.partition(":")[2])
    if local and (column is not None or not os.path.exists(place)):
        open_source(place, column, collection=collection)
    return None


def _opened(place: str, column: str | None, collection: str | None, width: int, inverter: str) -> "Source":
    """The source, before any model is loaded where it can't be inverted."""
    from unembed import open_source
    from unembed.sources.undo import unfit

    found = open_source(place, column, collection=collection, width=width)
    if found.width != width:
        said = unfit(found.width, width, inverter)
        raise InputError(f"{found.place}: {said} `unembed identify` says which model they are of")
    return found


def _named(source: str) -> str:
    """A folder's name from what the user typed."""
    last = re.split(r"[/\\]", source.rstrip("/\\"))[-1].partition("?")[0].rpartition("@")[2]
    return re.sub(r"[^\w.-]+", "-", last).strip("-.") or "store"


def _say(report: dict[str, Any], folder: Path) -> None:
    from unembed_audit.report.words import method, sentences

    for sentence in sentences(report):
        click.echo(sentence)
    click.echo(method(report))
    click.echo(f"Report: {folder / 'report.html'}")
