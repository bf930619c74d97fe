"""`unembed evaluate`: how much of known passages comes back."""

import json
from pathlib import Path

import click

from unembed.cli._shared import Searching, announce, check_data, metered, progress, search_options
from unembed.defaults import SAMPLES
from unembed.errors import InputError

__all__ = ["evaluate"]


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="A .txt file of passages, one per line, or a folder of images, or a .parquet file of either.",
)
@click.option("--column", help="Column of a .parquet file.  [default: the modality's name, as text or image]")
@click.option("--samples", type=click.IntRange(1), default=SAMPLES, show_default=True, help="Maximum number of inputs.")
@click.option(
    "--max-tokens", type=click.IntRange(1), help="Cut passages to this many tokens; shorter ones are left out."
)
@search_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    data: Path,
    column: str | None,
    samples: int,
    max_tokens: int | None,
    searching: Searching,
    as_json: bool,
) -> None:
    """Embed the inputs in --data, invert the embeddings and compare."""
    from unembed.contract.codec import SequenceCodec
    from unembed.inversion.evaluation import evaluate as measure
    from unembed.registry.discovery import read_objects

    check_data(data)
    model = searching.open()
    objects = read_objects(model, data, column=column)
    if max_tokens is None:
        signals = model.codec.encode(objects[:samples])
    elif isinstance(model.codec, SequenceCodec):
        signals = model.codec.first(objects, max_tokens)[:samples]
    else:
        raise InputError(f"--max-tokens is for sequences; inverter {searching.inverter!r} inverts something else")
    search = searching.settings(model)
    if searching.dry_run:
        from unembed.costs.forecast import forecast

        tokens = max_tokens or (model.codec.width if isinstance(model.codec, SequenceCodec) else 0)
        announce(forecast(model, len(signals), tokens=tokens, effort=search), as_json)
        return
    with metered(model, searching.max_cost), progress(f"inverting {len(signals)}", search.limits.steps) as bar:
        found = measure(model, signals, effort=search, seed=searching.seed, on_step=bar)
    if as_json:
        click.echo(json.dumps(found.summary()))
        return
    click.echo(f"{found.n} inputs, at most {search.limits.steps} steps × beam {search.beam}, {found.seconds:.1f} s")
    for name, value in found.metrics.items():
        low, high = found.ci[name]
        click.echo(f"  {name:<18}{value:>10.4g}   95 % interval {low:.4g} to {high:.4g}")
