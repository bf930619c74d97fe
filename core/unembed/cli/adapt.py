"""`unembed adapt`: aim a trained inverter at another embedder."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from unembed.cli._shared import max_cost_option, metered_embedder
from unembed.defaults import INVERTER, PAIRS
from unembed.errors import InputError

__all__ = ["adapt"]


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--embedder", metavar="NAME", help="The model whose vectors are to be inverted: a folder, server or API.")
@click.option("--data", type=click.Path(path_type=Path), help="Texts to embed: .txt, a passage a line, or .parquet.")
@click.option("--column", help="Of a .parquet file of --data; of the vectors in --pairs-from.")
@click.option("--pairs", type=click.IntRange(1), default=PAIRS, show_default=True, help="Most texts used.")
@click.option(
    "--pairs-from", metavar="SOURCE", help="Use vectors that have their texts beside them, a file or a store."
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    multiple=True,
    help="Cut texts to their first so many tokens; again for further lengths, which take turns.  [default: uncut]",
)
@click.option(
    "--base", default=INVERTER, show_default=True, help="The inverter to adapt: a name, a folder or a hub id."
)
@click.option("--name", help="Name of the new inverter.  [default: its folder's]")
@max_cost_option
@click.option(
    "--tune",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Go on training the base's network for so long, with the errors that the map makes; best on a GPU.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed: which texts are drawn.")
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
@click.option("--json", "as_json", is_flag=True, help="Print the measured quality as one JSON object.")
def adapt(out: Path, embedder: str | None, max_cost: float | None, as_json: bool, **options: Any) -> None:
    """Make an inverter for another embedder from a few pairs, and write it to the folder OUT.

    Texts are embedded by --embedder and by the base's own embedder, and the base is aimed at the new vectors through a
    map between the two. It then proposes texts, and --embedder judges them.
    """
    from unembed.devices import choose_device
    from unembed.registry.adapting import adapt as aim
    from unembed.registry.opening import load_embedder

    options["device"] = choose_device(options["device"])
    box = None if embedder is None else load_embedder(embedder, device=options["device"])
    if box is None and max_cost is not None:
        raise InputError("--max-cost belongs to --embedder")
    limit = nullcontext() if box is None else metered_embedder(box, max_cost)
    with limit, _progress() as bar:
        made = aim(out, embedder=box, max_cost=max_cost, on_progress=bar, **options)
    assert made.manifest is not None  # it was opened from a checkpoint
    quality, training = made.manifest.quality["map"], made.manifest.training
    if as_json:
        click.echo(json.dumps({**quality, "pairs": training["pairs"], "held_out": quality["pairs"]}))
        return
    click.echo(f"fitted to {training['pairs']} pairs; measured on {quality['pairs']} of them held out:")
    click.echo(f"  cosine of mapped and true vectors {quality['cosine']:.3f}, centred {quality['centred']:.3f}")
    click.echo(f"  rank of the true text {quality['rank']:.0f} (median), first for {quality['first']:.0%}")
    click.echo(f"written to {out}; try: unembed invert 'some text' --inverter {out}", err=True)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for each thing that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console, tasks = Console(stderr=True), dict[str, TaskID]()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as bar:

        def move(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield move
