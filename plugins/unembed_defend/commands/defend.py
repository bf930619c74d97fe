"""`unembed defend`: which defence of stored vectors is worth what, and what does it cost?"""

import json
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from unembed.cli._shared import max_cost_option, metered
from unembed.defaults import EFFORT, EFFORTS, INVERTER
from unembed.errors import InputError, MissingExtraError
from unembed_defend.commands.showing import named, progress, show_table
from unembed_defend.plugin import LIBRARIES, MISSING

__all__ = ["DEFAULT", "defend"]

DEFAULT = ("gaussian:0.01", "int8", "binary", "rotation", "permutation")
SAMPLES, PILOT = 64, 8
CPU_EFFORT, CPU_STEPS, CPU_BEAM = "low", 3, 3  # some 300 searches in minutes


@click.command()
@click.option("--data", required=True, metavar="TEXTS", help="A .txt or .parquet file, or a store with texts in it.")
@click.option("--column", help="Column of a .parquet file of texts.  [default: text]")
@click.option(
    "--defence",
    "names",
    multiple=True,
    metavar="D",
    help=f"A defence, as gaussian:0.01, or a function of yours, module:function; repeat it.  [default: "
    f"{', '.join(DEFAULT)}]",
)
@click.option("--samples", type=click.IntRange(1), default=SAMPLES, show_default=True, help="Texts to recover.")
@click.option("--max-tokens", type=click.IntRange(1), help="Cut texts to so many tokens; shorter ones are left out.")
@click.option(
    "--others",
    type=click.IntRange(0),
    help="Other texts that attackers have, and defences are fitted to.  [default: ten times the width]",
)
@click.option("--inverter", default=INVERTER, show_default=True, help="A name, a checkpoint folder or a hub id.")
@click.option("--embedder", help="Query the inverter's embedding model elsewhere: a folder, server or API.")
@click.option(
    "--effort",
    metavar="NAME",
    help=f"How hard to search: {', '.join(EFFORTS)}, or another of the inverter's.  [default: medium; low on a CPU, "
    f"with {CPU_STEPS} steps and a beam of {CPU_BEAM}]",
)
@click.option("--steps", type=click.IntRange(0), help="Maximum rounds of correction.  [default: set by --effort]")
@click.option("--beam", type=click.IntRange(1, 512), help="Candidates kept per vector.  [default: set by --effort]")
@click.option(
    "--pilot",
    type=click.IntRange(0),
    default=PILOT,
    show_default=True,
    help="Try every attacker on so many texts, and the strongest on all; 0 tries all on all.",
)
@click.option(
    "--retrain",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Train the inverter's network against each defence for so long; on a GPU.",
)
@click.option("--retrieval", type=click.Path(path_type=Path), help="A BEIR folder, for nDCG@10.")
@click.option("--pairs", type=click.Path(path_type=Path), help="A file of sentence pairs and scores, for Spearman's ρ.")
@max_cost_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report.  [default: named after TEXTS]",
)
@click.option("--restart", is_flag=True, help="Start over in a folder that holds a run.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Random seed.")
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
@click.option("--json", "as_json", is_flag=True, help="Print the report's figures as one JSON object.")
def defend(
    data: str,
    column: str | None,
    names: tuple[str, ...],
    samples: int,
    max_tokens: int | None,
    others: int | None,
    inverter: str,
    embedder: str | None,
    effort: str | None,
    steps: int | None,
    beam: int | None,
    pilot: int,
    retrain: float | None,
    retrieval: Path | None,
    pairs: Path | None,
    max_cost: float | None,
    out: Path | None,
    restart: bool,
    seed: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Try defences on the vectors of TEXTS, against attackers who know of them, and report leak and use.

    Attackers invert what is stored as it is, told of its noise, denoised, mapped back by known pairs, or with a network
    retrained for it. The folder --out gets report.html and report.json; the same command goes on with a run that was
    stopped.
    """
    from unembed import load
    from unembed.registry.opening import checkpoint_folder
    from unembed_defend.defences.opening import open_defence
    from unembed_defend.defending import Plan
    from unembed_defend.defending import defend as run
    from unembed_defend.preparing import chosen, prepared, read_texts, use_data
    from unembed_defend.use.reading import read_pairs, read_retrieval

    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise MissingExtraError(f"{MISSING} (missing: {', '.join(missing)})")
    defences = [open_defence(name) for name in dict.fromkeys(names or DEFAULT)]
    given = read_texts(data, column)
    judged = None if retrieval is None else read_retrieval(retrieval)
    sentences = None if pairs is None else read_pairs(pairs)
    model = load(inverter, device=device, embedder=embedder)
    if effort is None and model.embedder.device.type == "cpu":
        effort, steps, beam = CPU_EFFORT, CPU_STEPS if steps is None else steps, beam or CPU_BEAM
    effort = effort or EFFORT
    model.settings(effort, steps=steps, beam=beam)
    base = checkpoint_folder(inverter)
    if retrain is not None and base is None:
        raise InputError(f"--retrain trains a checkpoint's network; inverter {inverter!r} has none")
    wanted = 10 * model.dimension if others is None else others
    texts, rest, left_out = chosen(model, given, samples=samples, others=wanted, max_tokens=max_tokens)
    if left_out:
        click.echo(f"note: {left_out}", err=True)
    if len(rest) < wanted and others is None:
        click.echo(f"note: {len(rest)} other texts are left for the attackers, who would use up to {wanted}", err=True)
    folder = out or Path(f"defend-{named(data)}")
    plan = Plan(data, effort, steps, beam, pilot, seed, retrain, base, max_tokens, restart)
    with metered(model, max_cost), progress() as bar:
        material = prepared(model, texts, rest, folder, bar)
        use = use_data(model, judged, sentences, folder, bar)
        report = run(model, defences, material, folder, plan, use=use, on_progress=bar)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    _say(report, folder)


def _say(report: dict[str, Any], folder: Path) -> None:
    from unembed_defend.report.words import caveats, table, verdict

    show_table(*table(report), left=(0, 3))
    click.echo()
    for line in [*map(verdict, report["defences"]), "", *caveats(report)]:
        click.echo(line)
    click.echo(f"Report: {shlex.quote(str(folder / 'report.html'))}")
