"""`unembed calibrate`: measure how far a checkpoint's results can be trusted, and write it into the checkpoint."""

from pathlib import Path

import click

from unembed.cli._shared import progress, read_inputs
from unembed.defaults import EFFORT, EFFORTS, SAMPLES
from unembed.errors import InputError

__all__ = ["calibrate"]


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Passages (.txt, a line each) or a folder of images, as the inverter has it; or a .parquet of either.",
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
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
def calibrate(
    checkpoint: Path,
    data: Path,
    column: str | None,
    samples: int,
    lengths: tuple[int, ...],
    effort: str,
    device: str | None,
) -> None:
    """Learn, from inputs that CHECKPOINT wasn't trained on, how often a result of some similarity is exact.

    What is learnt is written to the checkpoint's manifest; `invert` then prints a confidence with each result.
    """
    import torch

    from unembed.checkpoints.manifest import write_manifest
    from unembed.contract.codec import SequenceCodec
    from unembed.inversion.calibration import calibrate as fit
    from unembed.inversion.evaluation import evaluate
    from unembed.registry.opening import load

    model = load(checkpoint, device=device)
    assert model.manifest is not None  # it was opened from a checkpoint
    search = model.settings(effort)
    objects = read_inputs(model, data, column)
    if not lengths:
        batches = [model.codec.encode(objects[:samples])]
    elif isinstance(model.codec, SequenceCodec):
        batches = [model.codec.first(objects, length)[:samples] for length in lengths]
    else:
        raise InputError(f"--max-tokens is for sequences; {checkpoint} inverts something else")
    results = []
    for signals in batches:
        with progress(f"inverting {len(signals)}", search.limits.steps) as bar:
            results.append(evaluate(model, signals, effort=search, on_step=bar))
    found = fit(torch.cat([x.similarity for x in results]), torch.cat([x.exact for x in results]))
    write_manifest(checkpoint, model.manifest.model_copy(update={"calibration": found}))
    click.echo(f"calibrated on {found.n} results:")
    for start, share in zip(found.similarity, found.probability, strict=True):
        click.echo(f"  similarity from {start:.6f}: exact with probability {share:.3f}")
