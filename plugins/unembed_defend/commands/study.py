"""`unembed study`: how do text length, vector width and precision bound what a vector gives back?"""

import json
import shlex
from importlib.util import find_spec
from pathlib import Path

import click

from unembed.defaults import EFFORTS, INVERTER
from unembed.errors import InputError, MissingExtraError
from unembed_defend.commands.showing import named, progress, show_table
from unembed_defend.plugin import LIBRARIES, MISSING, STUDY_LIBRARIES

__all__ = ["study"]

SAMPLES, EDITS, OTHERS = 24, 5000, 4000
LENGTHS = "8,16,24,32,48,64,96,128"
EFFORT, CPU_EFFORT, CPU_STEPS, CPU_BEAM = "max", "low", 3, 3


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Whole numbers above 0, separated by commas."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise click.BadParameter(f"whole numbers above 0, separated by commas; got {value!r}")
    return tuple(sorted({int(part) for part in parts}))


@click.command()
@click.option("--data", required=True, metavar="TEXTS", help="A .txt or .parquet file, or a store with texts in it.")
@click.option("--column", help="Column of a .parquet file of texts.  [default: text]")
@click.option("--lengths", callback=_numbers, default=LENGTHS, show_default=True, help="Tokens of the texts.")
@click.option(
    "--widths",
    callback=_numbers,
    help="Values of the vectors.  [default: the embedder's width, its half, quarter and eighth]",
)
@click.option("--samples", type=click.IntRange(1), default=SAMPLES, show_default=True, help="Texts of each length.")
@click.option(
    "--others",
    type=click.IntRange(1),
    default=OTHERS,
    show_default=True,
    help="Other texts, which PCA and the attacker's maps are fitted to.",
)
@click.option("--edits", type=click.IntRange(1), default=EDITS, show_default=True, help="Near edits of each text.")
@click.option("--inverter", default=INVERTER, show_default=True, help="A name, a checkpoint folder or a hub id.")
@click.option(
    "--effort",
    metavar="NAME",
    help=f"How hard to search: {', '.join(EFFORTS)}, or another of the inverter's.  [default: {EFFORT}; {CPU_EFFORT} "
    f"on a CPU, with {CPU_STEPS} steps and a beam of {CPU_BEAM}]",
)
@click.option("--steps", type=click.IntRange(0), help="Maximum rounds of correction.  [default: set by --effort]")
@click.option("--beam", type=click.IntRange(1, 512), help="Candidates kept per vector.  [default: set by --effort]")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Stop after so many minutes; the same command goes on.  [default: no limit]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report.  [default: named after TEXTS]",
)
@click.option("--restart", is_flag=True, help="Start over in a folder that holds a run.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Random seed.")
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
@click.option("--json", "as_json", is_flag=True, help="Print the report's figures as one JSON object.")
def study(
    data: str,
    column: str | None,
    lengths: tuple[int, ...],
    widths: tuple[int, ...] | None,
    samples: int,
    others: int,
    edits: int,
    inverter: str,
    effort: str | None,
    steps: int | None,
    beam: int | None,
    minutes: float | None,
    out: Path | None,
    restart: bool,
    seed: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Measure what vectors of TEXTS give back by text length, vector width and precision.

    Vectors are made narrower by PCA and by random projections, and rounded to 8 bits and to 1 bit a value; the search
    asks the embedder and the reduction alike. The folder --out gets report.html, report.json and figure.svg; the same
    command goes on with a run that was stopped.
    """
    from unembed import load
    from unembed_defend.preparing import read_texts
    from unembed_defend.study.grid import widths_of
    from unembed_defend.study.studying import Plan
    from unembed_defend.study.studying import study as run
    from unembed_defend.study.texts import passages

    if missing := [name for name in (*LIBRARIES, *STUDY_LIBRARIES) if find_spec(name) is None]:
        raise MissingExtraError(f"{MISSING} (missing: {', '.join(missing)})")
    given = read_texts(data, column)
    model = load(inverter, device=device)
    if model.embedder.meter is not None:
        raise InputError(f"the study asks {model.embedder.name!r} millions of times: take an embedder that runs here")
    if effort is None and model.embedder.device.type == "cpu":
        effort, steps, beam = CPU_EFFORT, CPU_STEPS if steps is None else steps, beam or CPU_BEAM
    effort = effort or EFFORT
    model.settings(effort, steps=steps, beam=beam)
    chosen = passages(model, given, samples=samples, others=others, lengths=lengths)
    if (found := len(chosen.texts[lengths[0]])) < samples:
        click.echo(f"note: {found} texts have {max(lengths)} tokens, of {samples} asked for", err=True)
    too_long = [length for length in lengths if model.longest is not None and length > model.longest]
    if too_long:
        click.echo(
            f"note: {inverter} writes up to {model.longest} tokens: at {', '.join(map(str, too_long))} only near edits "
            "are compared",
            err=True,
        )
    folder = out or Path(f"study-{named(data)}")
    plan = Plan(lengths, widths_of(model.dimension, widths), data, effort, steps, beam, edits, seed, minutes, restart)
    with progress() as bar:
        report = run(model, chosen, folder, plan, on_progress=bar)
    if not report["complete"]:
        click.echo("note: not all is measured; give the same command again to go on", err=True)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    from unembed_defend.study.words import answers, limits, table

    show_table(*table(report), left=(2, 3))
    click.echo()
    for line in [*answers(report), "", *limits(report)]:
        click.echo(line)
    click.echo(f"Report: {shlex.quote(str(folder / 'report.html'))}")
