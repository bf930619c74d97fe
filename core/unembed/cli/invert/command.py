"""`unembed invert`: vectors, or texts that are embedded first, back to what was embedded."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from unembed.cli._progress import rows_progress
from unembed.cli._shared import Searching, announce, metered, search_options
from unembed.cli.invert.claims import Claims, about_norms, note, note_inputs
from unembed.cli.invert.opening import Vectors, fingerprint, targets_of
from unembed.cli.invert.running import check_engine, here, on_engine
from unembed.cli.invert.showing import print_rows
from unembed.errors import InputError, brief

if TYPE_CHECKING:
    from unembed.engine.effort import Effort
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.targets import InputTargets, SourceTargets
    from unembed.registry.specs import Modality

__all__ = ["invert"]

QUIET = 5.0  # seconds without a word on progress, where there is no terminal


@click.command()
@click.argument("inputs", nargs=-1)
@click.option("--vectors", metavar="SOURCE", help="A file, folder, database or server that holds vectors.")
@click.option("--column", help="The array, column, tensor or field of --vectors.")
@click.option("--collection", help="The collection, table or group of --vectors.")
@click.option(
    "--ranges",
    type=click.Path(path_type=Path),
    help="Lowest and highest number of each dimension (two rows, or low and high in an .npz), where --vectors are "
    "8-bit codes of such ranges.",
)
@click.option(
    "--precision", help="How --vectors are rounded: int8, '3 decimals', noise:0.01 …  [default: read from their digits]"
)
@click.option("--words", is_flag=True, help="Say of each word how probable it is that the input has it.")
@click.option("--strict", is_flag=True, help="Stop at a row of --vectors that can't be inverted; don't skip it.")
@click.option("--sample", type=click.IntRange(1), help="Invert so many of --vectors, chosen at random by --seed.")
@click.option(
    "--order",
    metavar="ORDER",
    help="What of --vectors comes first: stored, random, deleted (records), by:FIELD (of their payload, lowest first) "
    "or by:-FIELD.  [default: stored]",
)
@search_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File that keeps each result at once: JSON lines, or .parquet at the end; of images, and with --engine, a "
    "folder for them.",
)
@click.option("--restart", is_flag=True, help="Begin --out anew; without it the same command goes on where it stopped.")
@click.option("--engine", metavar="NAME", help="Invert --vectors on the workers of an engine: ray.")
@click.option(
    "--workers", type=click.IntRange(1), help="Workers of --engine, an inverter each.  [default: one per GPU, or CPU]"
)
def invert(
    inputs: tuple[str, ...],
    vectors: str | None,
    column: str | None,
    collection: str | None,
    ranges: Path | None,
    precision: str | None,
    words: bool,
    strict: bool,
    sample: int | None,
    order: str | None,
    searching: Searching,
    as_json: bool,
    out: Path | None,
    restart: bool,
    engine: str | None,
    workers: int | None,
) -> None:
    """Recover INPUTS from their own embeddings (to see what leaks), or what is behind the vectors of a SOURCE.

    INPUTS are texts, or files where the inverter recovers images: their results are files in the folder --out.
    """
    if bool(inputs) == (vectors is not None):
        raise InputError("give either texts or files to embed and invert, or a file of --vectors")
    given = Vectors(vectors, column, collection, ranges, strict, order, sample)
    given.check()
    if restart and out is None:
        raise InputError("--restart belongs to --out")
    from unembed.cli.invert.keeping import check_out, check_outside, open_results
    from unembed.registry.discovery import modality_of
    from unembed.registry.opening import foreseen

    kind, width = foreseen(searching.inverter)
    meant = next((given for given in inputs if _may_be_vectors(given, kind)), None)
    if meant is not None:
        raise InputError(
            f"{brief(meant)} is a file or folder that may hold vectors; did you mean --vectors {brief(meant)}?"
        )

    def check(kind: "Modality | None") -> None:
        check_engine(engine, workers, searching, kind, out, vectors)
        if engine is None:
            check_out(out, kind, searching.inverter, dry=searching.dry_run)
        check_outside(out, vectors)

    check(kind)
    source = given.open(width)
    if source is not None and width is not None and source.width != width:
        from unembed.sources.undo import unfit

        raise InputError(unfit(source.width, width, searching.inverter))
    model = searching.open() if engine is None else replace(searching, device="cpu").open()
    search = searching.settings(model)
    if kind is None:
        kind = modality_of(model)
        check(kind)
    targets = targets_of(model, inputs, source, given, searching.seed)
    precision = given.precision() if precision is None else precision
    note_inputs(model, inputs)
    for line in () if source is None else [*source.notes, *about_norms(source, model.embedder)]:
        note(line)
    if searching.dry_run:
        announce(_forecast(model, inputs, targets, search), as_json)
        return
    settings = fingerprint(model, search, precision, searching.seed, words)
    run: dict[str, Any] = {"inputs": targets.fingerprint, "settings": settings, "restart": restart}
    options = {"precision": precision, "words": words, "seed": searching.seed}
    with ExitStack() as stack:
        if engine is not None and out is not None:
            from unembed.bulk.parts import Parts

            results = stack.enter_context(Parts(out, **run))
            before = results.count
            bar = stack.enter_context(rows_progress("vectors", quiet=QUIET))
            work = (model, searching, cast("SourceTargets", targets), results, search, bar, options)
            claims = on_engine(engine, workers, *work)
        else:
            kept = stack.enter_context(open_results(out, kind, **run))
            before, claims = kept.done, Claims()
            stack.enter_context(metered(model, searching.max_cost))
            bar = stack.enter_context(rows_progress("vectors" if vectors else "inputs", quiet=QUIET))
            for rows in here(model, kind, inputs, targets, kept, search, bar, options):
                claims.count(rows)
                if out is None or (kind is not None and kind.write is not None):
                    with bar.hidden():
                        print_rows(rows, as_json)
            kept.finish()
    claims.say(model)
    for line in targets.skipped():
        note(line)
    if out is not None:
        there = f", {before} of them before" if before else ""
        click.echo(f"{claims.total + before} reconstructions written to {out}{there}", err=True)


def _may_be_vectors(given: str, kind: "Modality | None") -> bool:
    """Whether an input is a file of vectors, and none of the modality's own where its inputs are files."""
    from unembed.sources.opening import looks_like_source

    if not looks_like_source(given):
        return False
    if kind is None or kind.write is None:
        return True
    try:
        return not kind.read(Path(given))
    except InputError:
        return True


def _forecast(
    model: "Inverter", inputs: tuple[str, ...], targets: "InputTargets | SourceTargets", search: "Effort"
) -> dict[str, Any]:
    from unembed.contract.codec import SequenceCodec
    from unembed.costs.forecast import forecast

    codec = model.codec
    tokens = codec.width if isinstance(codec, SequenceCodec) else 0
    if isinstance(codec, SequenceCodec) and inputs:
        tokens = min(tokens, max(codec.lengths(list(inputs))))
    return forecast(model, targets.good(), tokens=tokens, effort=search)
