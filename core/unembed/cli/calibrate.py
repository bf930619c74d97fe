"""`unembed calibrate`: measure how far a checkpoint's results can be trusted, and write it into the checkpoint."""

import random
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unembed.cli._shared import check_data, progress, read_inputs
from unembed.defaults import EFFORT, EFFORTS, SAMPLES
from unembed.errors import InputError

if TYPE_CHECKING:
    from unembed.engine.effort import Effort
    from unembed.inversion.calibration import Calibration
    from unembed.inversion.inverter import Inverter

__all__ = ["calibrate"]

AT_ONCE = 64  # inputs inverted together
POOL = 50  # inputs that one is chosen from


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="Passages (.txt, a line each) or a folder of images, as the inverter has it; or a .parquet of either. "
    "Again for further ones.",
)
@click.option("--column", help="Of a .parquet file.  [default: text, image …, the modality's name for it]")
@click.option("--samples", type=click.IntRange(2), default=SAMPLES, show_default=True, help="Most inputs a length.")
@click.option(
    "--max-tokens",
    "lengths",
    type=click.IntRange(1),
    multiple=True,
    help="Take the first so many tokens of passages that have them; again for further lengths.",
)
@click.option(
    "--effort",
    metavar="NAME",
    default=EFFORT,
    show_default=True,
    help=f"How hard to search: {', '.join(EFFORTS)}, or another of the inverter's.",
)
@click.option(
    "--floor-only",
    is_flag=True,
    help="Keep the calibration, and only measure below which similarity no input of the embedder ends.",
)
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
def calibrate(
    checkpoint: Path,
    data: tuple[Path, ...],
    column: str | None,
    samples: int,
    lengths: tuple[int, ...],
    effort: str,
    floor_only: bool,
    device: str | None,
) -> None:
    """Learn, from inputs that CHECKPOINT wasn't trained on, how often a result of some similarity is exact.

    What is learnt is written to the checkpoint's manifest; `invert` then prints a confidence with each result. Of texts
    and other sequences, --samples whole inputs of all lengths are inverted once more at effort low: results that end
    well below these are of vectors that the embedder didn't make, and `invert` says so.
    """
    from unembed.checkpoints.manifest import write_manifest
    from unembed.contract.codec import SequenceCodec
    from unembed.inversion.calibration import MARGIN, floor_below
    from unembed.registry.opening import load

    check_data(*data)
    model = load(checkpoint, device=device)
    assert model.manifest is not None  # it was opened from a checkpoint
    search = model.settings(effort)
    objects = [one for path in data for one in read_inputs(model, path, column)]
    found = model.manifest.calibration
    if not floor_only:
        found = _fitted(model, objects, samples, lengths, search)
    elif found is None:
        raise InputError(f"{checkpoint} has no calibration to keep: leave --floor-only out")
    if isinstance(model.codec, SequenceCodec):
        lowest = _lowest(model, objects, samples)
        least = lowest if floor_only or found.floor is None else min(lowest, found.floor + MARGIN)
        found = found.model_copy(update={"floor": floor_below(least)})
    write_manifest(checkpoint, model.manifest.model_copy(update={"calibration": found}))
    click.echo(f"calibrated on {found.n} results:")
    for start, share in zip(found.similarity, found.probability, strict=True):
        click.echo(f"  similarity from {start:.6f}: exact with probability {share:.3f}")
    click.echo(f"  similarity below {found.floor:.3f}: unlike any of the embedder's vectors")


def _fitted(
    model: "Inverter", objects: list[Any], samples: int, lengths: tuple[int, ...], search: "Effort"
) -> "Calibration":
    """A calibration on the first so many inputs, or on as many of each length."""
    import torch

    from unembed.contract.codec import SequenceCodec
    from unembed.inversion.calibration import calibrate as fit
    from unembed.inversion.evaluation import evaluate

    if not lengths:
        batches = [model.codec.encode(objects[:samples])]
    elif isinstance(model.codec, SequenceCodec):
        batches = [model.codec.first(objects, length)[:samples] for length in lengths]
    else:
        raise InputError(f"--max-tokens is for sequences; inverter {model.name!r} inverts something else")
    results = []
    for signals in batches:
        with progress(f"inverting {len(signals)}", search.limits.steps) as bar:
            results.append(evaluate(model, signals, effort=search, on_step=bar))
    return fit(torch.cat([x.similarity for x in results]), torch.cat([x.exact for x in results]))


def _lowest(model: "Inverter", objects: list[Any], samples: int) -> float:
    """The lowest similarity that whole inputs end at: `samples` of them, of all lengths evenly."""
    from unembed.contract.codec import SequenceCodec

    assert isinstance(model.codec, SequenceCodec)
    drawn = random.Random(0).sample(objects, min(len(objects), POOL * samples))
    seen = [min(length, model.codec.width) for length in model.codec.lengths(drawn)]
    order = sorted(range(len(drawn)), key=lambda place: seen[place])
    low, high = seen[order[0]], seen[order[-1]]
    wanted = (low + (high - low) * number / max(1, samples - 1) for number in range(samples))
    ascending = [seen[place] for place in order]
    places = {min(len(order) - 1, bisect_left(ascending, length)) for length in wanted}
    chosen = [drawn[order[place]] for place in sorted(places)]
    search = model.settings("low")
    lowest = 1.0
    for first in range(0, len(chosen), AT_ONCE):
        with progress(f"the floor, {first} of {len(chosen)}", search.limits.steps) as bar:
            vectors = model.embed(chosen[first : first + AT_ONCE])
            found = model.invert(vectors, effort=search, on_step=bar).similarity
            lowest = min(lowest, found.min().item())
    return lowest
