"""What several commands share: options, the progress bar, writing JSON lines."""

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from unembed.defaults import EFFORT, INVERTER
from unembed.engine.effort import EFFORTS
from unembed.errors import InputError

if TYPE_CHECKING:
    from unembed.engine.loop import Step
    from unembed.inversion.inverter import Inverter

__all__ = ["announce", "json_lines", "metered", "open_inverter", "progress", "read_inputs", "search_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def _number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """A range lets NaN through, which is above and below nothing."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number", context, option)
    return value


_SEARCH = (
    click.option("--inverter", default=INVERTER, show_default=True, help="A name, a checkpoint folder or a hub id."),
    click.option("--embedder", help="Another way to the inverter's own model: a folder, a server, an API."),
    click.option(
        "--max-cost", type=click.FloatRange(0), callback=_number, help="Most US dollars spent on an embedding API."
    ),
    click.option("--dry-run", is_flag=True, help="Only say what the inversion can cost at most."),
    click.option(
        "--effort", type=click.Choice(list(EFFORTS)), default=EFFORT, show_default=True, help="How hard to search."
    ),
    click.option("--steps", type=click.IntRange(0), help="Most correction rounds.  [default: the effort's]"),
    click.option(
        "--beam",
        type=click.IntRange(1),
        help="Hypotheses kept a target, and corrections of each.  [default: the effort's]",
    ),
    click.option(
        "--max-queries", type=click.IntRange(1), help="Most embedded signals a target.  [default: the effort's]"
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of all randomness."),
    click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]"),
)


def search_options(command: Command) -> Command:
    """The options of every command that inverts."""
    for option in reversed(_SEARCH):
        command = option(command)
    return command


def open_inverter(name: str, *, device: str | None, embedder: str | None = None) -> "Inverter":
    """The inverter of that name, as `unembed.load` gives it."""
    import torch

    from unembed.registry.opening import load

    model = load(name, device=device, embedder=embedder)
    if model.embedder.device.type == "cuda":
        # Products of float32 then take 10 bits of fraction, several times faster: an embedding moves by about a
        # thousandth, its cosine by a millionth.
        torch.set_float32_matmul_precision("high")
    return model


def read_inputs(model: "Inverter", data: Path, column: str | None) -> list[Any]:
    """The objects of a file or folder, read as the inverter's modality says: without one, as passages."""
    from unembed.registry.discovery import modality_of
    from unembed.sources.passages import read_passages

    kind = modality_of(model)
    return read_passages(data, column=column) if kind is None else kind.read(data, column=column)


@contextmanager
def metered(model: "Inverter", max_cost: float | None) -> Iterator[None]:
    """Keep an API's cost under `max_cost` dollars, and say on standard error what it came to, also after a failure."""
    meter = model.embedder.meter
    if meter is None:
        if max_cost is not None:
            raise InputError(f"--max-cost is for embedding APIs; {model.embedder.name} runs here and costs nothing")
        yield
        return
    if max_cost is not None and meter.price is None:
        raise InputError(
            f"--max-cost: the price of {model.embedder.name} isn't known; add ?price=DOLLARS_A_MILLION_TOKENS"
        )
    meter.max_cost = max_cost
    try:
        yield
    finally:
        click.echo(f"{model.embedder.name}: {meter.summary()}", err=True)


def announce(found: dict[str, Any], as_json: bool) -> None:
    """Print the forecast of a dry run."""
    if as_json:
        click.echo(json.dumps(found))
        return
    cost = "" if found["cost"] is None else f", about ${found['cost']:.4f}"
    click.echo(f"at most {found['queries']} queries; by estimate, which is no bound, {found['tokens']} tokens{cost}")


@contextmanager
def progress(what: str, steps: int) -> Iterator["Callable[[Step], None]"]:
    """A bar on standard error while something is inverted; yields the `on_step` that moves it."""
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
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=steps, note="")

        def on_step(step: "Step") -> None:
            note = f"similarity {step.similarity.mean().item():.3f}, {step.active} left"
            bar.update(task, completed=step.number, note=note)

        yield on_step


@contextmanager
def json_lines(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write objects as JSON lines: to standard output, or to `path`, which appears when all is written."""
    if path is None:
        yield lambda row: click.echo(json.dumps(row, ensure_ascii=False))
        return
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(f"can't write {path}: {error.strerror}") from error
    try:
        with open(handle, "w", encoding="utf-8") as file:
            yield lambda row: print(json.dumps(row, ensure_ascii=False), file=file)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
