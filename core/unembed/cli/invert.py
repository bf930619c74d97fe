"""`unembed invert`: vectors, or texts that are embedded first, back to what was embedded."""

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unembed.cli._shared import Bar, Searching, announce, json_lines, metered, progress, search_options
from unembed.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unembed.engine.effort import Effort
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.results import Row

__all__ = ["invert"]


@click.command()
@click.argument("inputs", nargs=-1)
@click.option("--vectors", type=click.Path(path_type=Path), help="A .npy .npz .parquet .safetensors or .jsonl file.")
@click.option("--column", help="The array, column, tensor or field of --vectors.")
@click.option(
    "--precision", help="How --vectors are rounded: int8, '3 decimals', noise:0.01 …  [default: read from their digits]"
)
@search_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the JSON lines; of images, a folder for them.")
def invert(
    inputs: tuple[str, ...],
    vectors: Path | None,
    column: str | None,
    precision: str | None,
    searching: Searching,
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

    model = searching.open()
    search = searching.settings(model)
    _note_cuts(model, inputs)
    if searching.dry_run:
        announce(_forecast(model, inputs, given, search), as_json)
        return
    kind = modality_of(model)
    to_files = None if kind is None else kind.write
    if to_files is not None:
        _make_folder(out, searching.inverter)
    count, unlike, rounded = 0, 0, Counter[str]()
    with (
        json_lines(None if to_files is not None else out) as write,
        metered(model, searching.max_cost),
        progress("inverting", search.limits.steps) as bar,
    ):
        target = model.embed(list(inputs)) if given is None else given
        for rows in _results(model, inputs, target, search, precision, searching.seed, bar, to_files, out):
            count += len(rows)
            unlike += sum(row["verdict"] == "unlike" for row in rows)
            rounded.update(row["precision"] for row in rows if row["precision"] not in (None, "float32"))
            with bar.hidden():
                for row in rows:
                    if as_json or (out is not None and to_files is None):
                        write(row)
                    else:
                        _show(row)
    _note_claims(model, count, unlike, rounded)
    if out is not None:
        click.echo(f"{count} reconstructions written to {out}", err=True)


def _results(
    model: "Inverter",
    inputs: tuple[str, ...],
    target: Any,
    search: "Effort",
    precision: str | None,
    seed: int,
    bar: Bar,
    to_files: "Callable[..., list[Path]] | None",
    out: Path | None,
) -> "Iterator[list[Row]]":
    """The rows of what is searched together, in order; where results are files, all at once, once those are written."""
    known = bool(inputs)
    if to_files is None:
        for first, found in model.inversions([target], effort=search, precision=precision, seed=seed, on_step=bar):
            mine = inputs[first : first + len(found)]
            exact = model.exact(list(mine), found).tolist() if known else None
            yield found.rows(inputs=mine if known else None, exact=exact, first=first)
        return
    found = model.invert(target, effort=search, precision=precision, seed=seed, on_step=bar, trace=True)
    files = to_files(out, model, inputs if known else None, found)
    exact = model.exact(list(inputs), found).tolist() if known else None
    rows = found.rows(inputs=inputs if known else None, exact=exact)
    yield [{**row, "reconstruction": str(file)} for row, file in zip(rows, files, strict=True)]


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
    unlike = "; unlike any embedding of this model" if row["verdict"] == "unlike" else ""
    click.echo(f"  similarity {similarity}{sure}{verdict}{unlike}; {row['steps']} steps, {row['queries']} queries")


def _short_of_certain(probability: float) -> str:
    """To three digits, rounded down: no sample shows certainty."""
    return f"{math.floor(1000 * probability) / 1000:.3f}"


def _forecast(model: "Inverter", inputs: tuple[str, ...], given: Any, search: "Effort") -> dict[str, Any]:
    from unembed.contract.codec import SequenceCodec
    from unembed.costs.forecast import forecast

    codec, count = model.codec, len(inputs) if given is None else len(given)
    tokens = codec.width if isinstance(codec, SequenceCodec) else 0
    if isinstance(codec, SequenceCodec) and inputs:
        tokens = min(tokens, max(codec.lengths(list(inputs))))
    return forecast(model, count, tokens=tokens, effort=search)


def _note_claims(model: "Inverter", count: int, unlike: int, rounded: Counter[str]) -> None:
    """Say on standard error what the vectors showed of themselves: rounding, and that some aren't the embedder's."""
    if rounded:
        kinds = ", ".join(f"{name} ({number} of {count})" for name, number in rounded.most_common())
        click.echo(f"note: the vectors are rounded: {kinds}; solved and exact allow for it", err=True)
    if unlike:
        click.echo(
            f"note: {unlike} of {count} vectors end at a similarity that none of {model.embedder.name} does: they "
            "are another model's, altered, or of far longer inputs than it was calibrated on; don't trust their text",
            err=True,
        )


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
