"""`unembed check`: does a plugin keep what the contract asks?"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from unembed.testing import Outcome

__all__ = ["check"]

_MARKS = {"passed": ("ok", "green"), "failed": ("FAILED", "red"), "skipped": ("-", None), "blocked": ("-", None)}


@click.command()
@click.argument("plugin")
@click.option("--config", type=click.Path(path_type=Path), help="A training config whose recipe to check too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per check.")
@click.pass_context
def check(context: click.Context, plugin: str, config: Path | None, as_json: bool) -> None:
    """Check that PLUGIN and each of its inverters keep the contract; `unembed plugins` lists names."""
    from unembed.testing import check_plugin

    found = check_plugin(plugin, config=config)
    for subject, outcomes in found.items():
        if not as_json:
            click.echo(click.style(subject, bold=True))
        for outcome in outcomes:
            click.echo(json.dumps({"subject": subject, **vars(outcome)}) if as_json else _line(outcome))
    failed = sum(outcome.status == "failed" for outcomes in found.values() for outcome in outcomes)
    passed = sum(outcome.status == "passed" for outcomes in found.values() for outcome in outcomes)
    click.echo(f"{passed} passed, {failed} failed", err=as_json)
    if failed:
        context.exit(1)


def _line(outcome: "Outcome") -> str:
    word, colour = _MARKS[outcome.status]
    why = f"  ({outcome.detail})" if word == "-" else f"\n          {outcome.detail}" if outcome.detail else ""
    return f"  {click.style(f'{word:<6}', fg=colour)}  {outcome.check}{why}"
