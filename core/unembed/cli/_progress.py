"""How far long work is, on standard error: a bar on a terminal, a line each half minute elsewhere."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from unembed.costs.pace import Progress
    from unembed.engine.loop import Step

__all__ = ["Rows", "rows_progress"]

EACH = 30.0  # seconds between lines


class Rows:
    """Called with how far the work is; `step` says how far the search at hand is, where there is a bar."""

    def __init__(self, bar: "Bars", what: str, quiet: float) -> None:
        self._bar, self._what, self._quiet = bar, what, quiet
        self._task = bar.add_task("", total=None, note="")
        self._pace = ""
        self._said = -math.inf

    def __call__(self, state: "Progress") -> None:
        """Show a rate and the time left."""
        done = state.before + state.done
        left = "" if state.left is None else f", about {_time(state.left)} left"
        self._pace = f"{60 * state.rate:.0f} a minute{left}" if state.done else "a rate and an estimate follow"
        self._bar.update(self._task, completed=done, total=state.total, note=self._pace)
        due = state.seconds - self._said >= EACH or self._said == 0 < state.done
        if self._bar.disable and due and state.seconds >= self._quiet:
            self._said = state.seconds
            of = state.total if state.total is not None else "?"
            said = f"{done} of {of} {self._what}, {self._pace}"
            if state.before and not state.done:
                said = f"going on: {done} of {of} {self._what} are done"
            print(said, file=sys.stderr)

    def step(self, step: "Step") -> None:
        """Show a step of a search, which is waited for: an `on_step`."""
        if not self._bar.disable:
            note = f"step {step.number}, similarity {step.similarity.mean().item():.3f}, {step.active} unsolved"
            self._bar.update(self._task, note=f"{self._pace}; {note}" if self._pace else note)

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
def rows_progress(what: str = "records", *, quiet: float = 0.0) -> Iterator[Rows]:
    """A bar with rate and time left on a terminal; elsewhere a line each half minute, the first after `quiet` s."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("inverting"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    # Standard output stays what it is, also where standard error is a terminal.
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as bar:
        yield Rows(bar, what, quiet)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
