"""`unembed new-plugin`: a package to start a plugin from."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from unembed.registry.scaffolding import Signals

__all__ = ["new_plugin"]


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--signals",
    type=click.Choice(["discrete", "continuous"]),
    default="discrete",
    show_default=True,
    help="What it recovers: rows of symbols, or windows of real numbers, as of audio or sensors.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write.  [default: unembed_NAME]")
def new_plugin(name: str, signals: "Signals", out: Path | None) -> None:
    """Write a complete, trainable and tested plugin package NAME, with a toy signal to replace."""
    from unembed.registry.scaffolding import write_plugin

    folder = write_plugin(name, out, signals=signals)
    click.echo(f"{folder} is written; next:\n  cd {folder}\n  pip install -e '.[test]'\n  unembed train train.toml")
