"""`unembed new-plugin`: a package to start a plugin from."""

from pathlib import Path

import click

__all__ = ["new_plugin"]


@click.command("new-plugin")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write.  [default: unembed_NAME]")
def new_plugin(name: str, out: Path | None) -> None:
    """Write a complete, trainable and tested plugin package NAME, with a toy signal to replace."""
    from unembed.registry.scaffolding import write_plugin

    folder = write_plugin(name, out)
    click.echo(f"{folder} is written; next:\n  cd {folder}\n  pip install -e '.[test]'\n  unembed train train.toml")
