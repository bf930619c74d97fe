"""`unembed train`: a hypothesizer and corrector from a TOML config."""

import logging
from pathlib import Path

import click

__all__ = ["train"]


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--resume", is_flag=True, help="Resume from the last checkpoint in the output folder.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of CONFIG, as in steps=100."
)
def train(config: Path, resume: bool, overrides: tuple[str, ...]) -> None:
    """Train an inverter as the TOML file CONFIG describes."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("unembed").setLevel(logging.INFO)
    from unembed.training import train as run

    run(config, resume=resume, overrides=overrides)
