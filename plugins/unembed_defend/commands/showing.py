"""What both commands show: a table, how far they are, a folder's name."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import click

__all__ = ["named", "progress", "show_table"]


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int]) -> None:
    """Print columns as wide as their widest cell, those at the places `left` from the left."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    for row in (head, *rows):
        cells = (
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())


def named(data: str) -> str:
    """A folder's name from what the user typed."""
    last = re.split(r"[/\\]", data.rstrip("/\\"))[-1].partition("?")[0].rpartition("@")[2]
    return re.sub(r"[^\w.-]+", "-", last).strip("-.") or "texts"


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for each thing that is done; a line where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    console, tasks = Console(stderr=True), dict[str, TaskID]()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as bar:

        def move(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)
            if not console.is_terminal and done >= total:
                click.echo(f"{what}: {done} of {total}", err=True)

        yield move
