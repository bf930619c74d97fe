"""What several commands share: options, the progress bar, writing JSON lines."""

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from unembed.defaults import EFFORT, EFFORTS, INVERTER
from unembed.errors import InputError, brief

if TYPE_CHECKING:
    from rich.progress import Progress

    from unembed.contract.embedder import Embedder
    from unembed.engine.effort import Effort
    from unembed.engine.loop import Step
    from unembed.inversion.inverter import Inverter

__all__ = [
    "Bar",
    "Searching",
    "announce",
    "check_data",
    "max_cost_option",
    "metered",
    "metered_embedder",
    "progress",
    "search_options",
    "with_its_threads",
]

MOST = 10**9  # steps or queries
BROADEST = 512  # candidates, each with as many corrections
Command = TypeVar("Command", bound=Callable[..., Any])


def _number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """A range lets NaN through, which is above and below nothing."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan isn't a number", context, option)
    return value


max_cost_option = click.option(
    "--max-cost",
    type=click.FloatRange(0),
    callback=_number,
    help="Maximum US dollars spent on an embedding API.",
)

_SEARCH = (
    click.option("--inverter", default=INVERTER, show_default=True, help="A name, a checkpoint folder or a hub id."),
    click.option("--embedder", help="Query the inverter's embedding model elsewhere: a folder, server or API."),
    max_cost_option,
    click.option("--dry-run", is_flag=True, help="Print the maximum cost and exit."),
    click.option(
        "--effort",
        metavar="NAME",
        default=EFFORT,
        show_default=True,
        help=f"How hard to search: {', '.join(EFFORTS)}, or another that the inverter defines.",
    ),
    click.option(
        "--steps", type=click.IntRange(0, MOST), help="Maximum rounds of correction.  [default: set by --effort]"
    ),
    click.option(
        "--beam",
        type=click.IntRange(1, BROADEST),
        help="Candidates kept per vector, and corrections proposed for each.  [default: set by --effort]",
    ),
    click.option(
        "--max-queries",
        type=click.IntRange(1, MOST),
        help="Maximum embedder queries per vector.  [default: set by --effort]",
    ),
    click.option("--seed", type=click.IntRange(-(2**63), 2**63 - 1), default=0, show_default=True, help="Random seed."),
    click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]"),
)


@dataclass(frozen=True)
class Searching:
    """The options of every command that inverts, as given."""

    inverter: str
    embedder: str | None
    max_cost: float | None
    dry_run: bool
    effort: str
    steps: int | None
    beam: int | None
    max_queries: int | None
    seed: int
    device: str | None

    def open(self) -> "Inverter":
        """The inverter that they name."""
        from unembed.registry.opening import load

        return with_its_threads(load(self.inverter, device=self.device, embedder=self.embedder))

    def settings(self, model: "Inverter") -> "Effort":
        """The effort that they ask of it."""
        return model.settings(self.effort, steps=self.steps, beam=self.beam, max_queries=self.max_queries)


def with_its_threads(model: "Inverter") -> "Inverter":
    """The inverter; torch computes with as many threads as its networks can use until the command ends."""
    from unembed.threads import fitting_threads

    networks = (model.embedder, model.hypothesizer, model.corrector, model.editor)
    click.get_current_context().with_resource(fitting_threads(*networks))
    return model


def search_options(command: Command) -> Command:
    """Give a command the options of every one that inverts, as its argument `searching`."""

    @wraps(command)
    def collected(*args: Any, **options: Any) -> Any:
        own = {field.name: options.pop(field.name) for field in fields(Searching)}
        return command(*args, searching=Searching(**own), **options)

    for option in reversed(_SEARCH):
        collected = option(collected)
    return cast(Command, collected)


def check_data(*paths: Path) -> None:
    """Raise InputError for a file or folder that isn't there: said before a model is loaded."""
    for path in paths:
        try:
            os.stat(path)
        except (OSError, ValueError) as error:
            reason = "" if isinstance(error, FileNotFoundError) else f" ({getattr(error, 'strerror', error)})"
            raise InputError(f"no file {brief(path)}{reason}") from error


@contextmanager
def metered(model: "Inverter", max_cost: float | None) -> Iterator[None]:
    """Keep the cost of asking an inverter's embedder under `max_cost` dollars: see `metered_embedder`."""
    with metered_embedder(model.embedder, max_cost):
        yield


@contextmanager
def metered_embedder(box: "Embedder", max_cost: float | None) -> Iterator[None]:
    """Keep an API's cost under `max_cost` dollars, and say on standard error what it came to, also after a failure."""
    if box.meter is None:
        if max_cost is not None:
            raise InputError(f"--max-cost is for embedding APIs; {box.name} runs here and costs nothing")
        yield
        return
    if max_cost is not None and box.meter.price is None:
        raise InputError(f"--max-cost: the price of {box.name} isn't known; add ?price=DOLLARS_A_MILLION_TOKENS")
    box.meter.max_cost = max_cost
    try:
        yield
    finally:
        click.echo(f"{box.name}: {box.meter.summary()}", err=True)


def announce(found: dict[str, Any], as_json: bool) -> None:
    """Print the forecast of a dry run."""
    if as_json:
        click.echo(json.dumps(found))
        return
    cost = "" if found["cost"] is None else f", about ${found['cost']:.4f}"
    click.echo(f"at most {found['queries']} queries; by estimate, which is no bound, {found['tokens']} tokens{cost}")


class Bar:
    """Moved by each step of a search; `hidden` while something else is printed."""

    def __init__(self, bar: "Progress", what: str, steps: int) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=steps, note="")

    def __call__(self, step: "Step") -> None:
        note = f"similarity {step.similarity.mean().item():.3f}, {step.active} left"
        self._bar.update(self._task, completed=step.number, note=note)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar off the terminal for a while, if there is one."""
        if self._bar.disable:
            yield
            return
        self._bar.stop()
        yield
        self._bar.start()


@contextmanager
def progress(what: str, steps: int) -> Iterator[Bar]:
    """A bar on standard error while something is inverted; what it yields is its `on_step`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("step {task.completed}/{task.total} {task.fields[note]}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    # Standard output stays what it is, also where standard error is a terminal.
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as bar:
        yield Bar(bar, what, steps)
