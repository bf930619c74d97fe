"""`unembed invert`: vectors, or texts that are embedded first, back to what was embedded."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unembed.cli._shared import announce, json_lines, metered, open_inverter, progress, search_options
from unembed.errors import InputError

if TYPE_CHECKING:
    from unembed.engine.effort import Effort
    from unembed.inversion.inverter import Inverter

__all__ = ["invert"]


@click.command()
@click.argument("inputs", nargs=-1)
@click.option("--vectors", type=click.Path(path_type=Path), help="A .npy .npz .parquet .safetensors or .jsonl file.")
@click.option("--column", help="The array, column, tensor or field of --vectors.")
@search_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the JSON lines; of images, a folder for them.")
def invert(
    inputs: tuple[str, ...],
    vectors: Path | None,
    column: str | None,
    inverter: str,
    embedder: str | None,
    max_cost: float | None,
    dry_run: bool,
    effort: str,
    steps: int | None,
    beam: int | None,
    max_queries: int | None,
    seed: int,
    device: str | None,
    as_json: bool,
    out: Path | None,
) -> None:
    """Recover INPUTS from their own embeddings (to see what leaks), or what is behind a file of --vectors.

    INPUTS are texts, or files where the inverter recovers images: their results are files in the folder --out.
    """
    if bool(inputs) == (vectors is not None):
        raise InputError("give either texts or files to embed and invert, or a file of --vectors")
    if column is not None and vectors is None:
        raise InputError("--column belongs to --vectors")
    from unembed.sources.vectors import read_vectors

    given: Any = None if vectors is None else read_vectors(vectors, name=column)
    from unembed.registry.discovery import modality_of

    model = open_inverter(inverter, device=device, embedder=embedder)
    kind = modality_of(model)
    to_files = None if kind is None else kind.write
    if to_files is not None and not dry_run:
        _make_folder(out, inverter)
    with json_lines(None if to_files is not None else out) as write:
        if vectors is None:
            _note_cuts(model, inputs)
        search = model.settings(effort, steps=steps, beam=beam, max_queries=max_queries)
        if dry_run:
            announce(_forecast(model, inputs, given, search), as_json)
            return
        with metered(model, max_cost), progress("inverting", search.steps) as on_step:
            target = model.embed(list(inputs)) if given is None else given
            found = model.invert(
                target,
                effort=effort,
                steps=steps,
                beam=beam,
                max_queries=max_queries,
                seed=seed,
                on_step=on_step,
                trace=to_files is not None,
            )
        results = found.objects
        if to_files is not None and out is not None:
            results = [str(file) for file in to_files(out, model, inputs if given is None else None, found)]
        exact = [None] * len(found.objects) if given is not None else model.exact(list(inputs), found).tolist()
        for index, reconstruction in enumerate(results):
            row = {
                **({"index": index} if given is not None else {"input": inputs[index]}),
                "reconstruction": reconstruction,
                "similarity": _known(found.similarity[index].item()),
                "confidence": None if found.confidence is None else _known(found.confidence[index].item()),
                "exact": exact[index],
                "steps": int(found.steps[index]),
                "queries": int(found.queries[index]),
            }
            if as_json or (out is not None and to_files is None):
                write(row)
            else:
                _show(row)
    if out is not None:
        click.echo(f"{len(found.objects)} reconstructions written to {out}", err=True)


def _make_folder(out: Path | None, inverter: str) -> None:
    if out is None:
        raise InputError(f"what inverter {inverter!r} recovers are files: name a folder for them, --out DIR")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out} can't be a folder: {error.strerror}") from error


def _show(row: dict[str, Any]) -> None:
    verdict = {True: ", exact", False: ", not exact", None: ""}[row["exact"]]
    click.echo(click.style(row["input"] if "input" in row else f"vector {row['index']}", bold=True))
    click.echo(f"  {row['reconstruction']}")
    similarity = "unknown" if row["similarity"] is None else f"{row['similarity']:.4f}"
    sure = "" if row["confidence"] is None else f", exact with probability {_short_of_certain(row['confidence'])}"
    click.echo(f"  similarity {similarity}{sure}{verdict}; {row['steps']} steps, {row['queries']} queries")


def _short_of_certain(probability: float) -> str:
    """To three digits, rounded down: no sample shows certainty."""
    return f"{math.floor(1000 * probability) / 1000:.3f}"


def _known(value: float) -> float | None:
    """JSON has no NaN: a similarity that couldn't be measured is null."""
    return None if math.isnan(value) else value


def _forecast(model: "Inverter", inputs: tuple[str, ...], given: Any, search: "Effort") -> dict[str, Any]:
    from unembed.contract.codec import SequenceCodec
    from unembed.costs.forecast import forecast

    codec, count = model.codec, len(inputs) if given is None else len(given)
    tokens = codec.width if isinstance(codec, SequenceCodec) else 0
    if isinstance(codec, SequenceCodec) and inputs:
        tokens = min(tokens, max(codec.lengths(list(inputs))))
    return forecast(model, count, tokens=tokens, effort=search)


def _note_cuts(model: "Inverter", inputs: tuple[str, ...]) -> None:
    """Say on standard error which inputs the embedder doesn't see to their end."""
    from unembed.contract.codec import SequenceCodec

    codec = model.codec
    if isinstance(codec, SequenceCodec):
        for index, length in enumerate(codec.lengths(list(inputs))):
            if length > codec.width:
                click.echo(
                    f"note: input {index} has {length} tokens; {model.embedder.name} sees the first {codec.width}",
                    err=True,
                )
