"""`unembed calibrate`: measure how far a checkpoint's results can be trusted, and write it into the checkpoint."""

import random
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unembed.cli._shared import check_data, progress, with_its_threads
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
    help="A .txt file of passages, one per line, or a folder of images, or a .parquet file of either. "
    "Again for further ones.",
)
@click.option("--column", help="Column of a .parquet file.  [default: the modality's name, as text or image]")
@click.option(
    "--samples", type=click.IntRange(2), default=SAMPLES, show_default=True, help="Maximum number of inputs per length."
)
@click.option(
    "--max-tokens",
    "lengths",
    type=click.IntRange(1),
    multiple=True,
    help="Cut passages to this many tokens; shorter ones are left out. Repeat it for several lengths.",
)
@click.option(
    "--effort",
    metavar="NAME",
    default=EFFORT,
    show_default=True,
    help=f"How hard to search: {', '.join(EFFORTS)}, or another that the inverter defines.",
)
@click.option(
    "--noise",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    help="Learn the words of vectors with Gaussian noise too, of that standard deviation a value; again for further.",
)
@click.option(
    "--floor-only",
    is_flag=True,
    help="Keep the calibration; only measure the lowest similarity that the embedder's own inputs reach.",
)
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
def calibrate(
    checkpoint: Path,
    data: tuple[Path, ...],
    column: str | None,
    samples: int,
    lengths: tuple[int, ...],
    effort: str,
    noise: tuple[float, ...],
    floor_only: bool,
    device: str | None,
) -> None:
    """Fit a confidence score for CHECKPOINT on inputs that it wasn't trained on.

    What is learnt is written to the checkpoint's manifest; `invert` then prints a confidence with each result, and with
    --words one for each word. Of texts
    and other sequences, --samples whole inputs of all lengths are inverted once more at effort low: results that end
    well below these are of vectors that the embedder didn't make, and `invert` says so.
    """
    from unembed.checkpoints.manifest import write_manifest
    from unembed.contract.codec import SequenceCodec
    from unembed.inversion.calibration import MARGIN, floor_below
    from unembed.registry.discovery import read_objects
    from unembed.registry.opening import load

    check_data(*data)
    model = with_its_threads(load(checkpoint, device=device))
    assert model.manifest is not None  # it was opened from a checkpoint
    search = model.settings(effort)
    objects = [one for path in data for one in read_objects(model, path, column=column)]
    found = model.manifest.calibration
    if not floor_only:
        found = _fitted(model, objects, samples, lengths, search, noise)
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
    if found.words is not None:
        click.echo(f"  words: fitted to {found.words.n} of them")
    click.echo(f"  similarity below {found.floor:.3f}: unlike any of the embedder's vectors")


def _fitted(
    model: "Inverter",
    objects: list[Any],
    samples: int,
    lengths: tuple[int, ...],
    search: "Effort",
    noise: tuple[float, ...],
) -> "Calibration":
    """A calibration on the first so many inputs, or on as many of each length; words also on noisy vectors."""
    import torch

    from unembed.contract.codec import SequenceCodec
    from unembed.defaults import CHUNK_SIZE
    from unembed.inversion.calibration import calibrate as fit
    from unembed.inversion.words import calibrate_words, present

    word = model.codec.word
    if noise and word is None:
        raise InputError(f"--noise is for words; inverter {model.name!r} writes none")
    if not lengths:
        batches = [model.codec.encode(objects[:samples])]
    elif isinstance(model.codec, SequenceCodec):
        batches = [model.codec.first(objects, length)[:samples] for length in lengths]
    else:
        raise InputError(f"--max-tokens is for sequences; inverter {model.name!r} inverts something else")
    similarity, exact, features, right = [], [], [], []
    draw = torch.Generator().manual_seed(0)
    for signals in batches:
        vectors = torch.cat([model.embedder.embed(rows) for rows in torch.split(signals, CHUNK_SIZE)])
        for sigma in (None, *noise):
            off = torch.zeros_like(vectors) if sigma is None else sigma * torch.randn(vectors.shape, generator=draw)
            named = None if sigma is None else f"noise:{sigma}"
            with progress(f"inverting {len(signals)}", search.limits.steps) as bar:
                found = model.invert(
                    vectors + off.to(vectors.device),
                    effort=search,
                    precision=named,
                    words=word is not None,
                    on_step=bar,
                )
            if sigma is None:
                similarity.append(found.similarity)
                exact.append((found.signals == signals.to(found.signals.device)).flatten(1).all(1))
            if word is not None and found.evidence is not None:
                features.append(found.evidence.features)
                right.append(present(word, found.objects, model.codec.decode(signals)))
    made = fit(torch.cat(similarity), torch.cat(exact))
    known = torch.cat(right) if right else torch.ones(0, dtype=torch.bool)
    if not len(known) or bool(known.all()) or not bool(known.any()):
        return made  # without right and wrong words nothing is learnt of words
    return made.model_copy(update={"words": calibrate_words(torch.cat(features), known)})


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
