"""`unembed invert`: vectors, or texts that are embedded first, back to what was embedded."""

import json
import math
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from unembed.cli._claims import Claims, about_norms, note, note_inputs
from unembed.cli._shared import Searching, announce, metered, progress, search_options
from unembed.errors import InputError, brief

if TYPE_CHECKING:
    from unembed.cli._keeping import FileResults, Results
    from unembed.engine.effort import Effort
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.results import Row
    from unembed.inversion.targets import Head, InputTargets, SourceTargets
    from unembed.registry.specs import Modality
    from unembed.sources.source import Source

__all__ = ["invert"]

FILES = 32  # results that are files, searched together at most: as many as fit on one sheet
VERDICTS = {
    "unlike": "unlike any embedding of this model",
    "longer": "probably of a longer input",
    "unseen": "with what the embedder can't see",
}


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
@search_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File that keeps each result at once: JSON lines, or .parquet at the end; of images, a folder for them.",
)
@click.option("--restart", is_flag=True, help="Begin --out anew; without it the same command goes on where it stopped.")
def invert(
    inputs: tuple[str, ...],
    vectors: str | None,
    column: str | None,
    collection: str | None,
    ranges: Path | None,
    precision: str | None,
    words: bool,
    strict: bool,
    searching: Searching,
    as_json: bool,
    out: Path | None,
    restart: bool,
) -> None:
    """Recover INPUTS from their own embeddings (to see what leaks), or what is behind the vectors of a SOURCE.

    INPUTS are texts, or files where the inverter recovers images: their results are files in the folder --out.
    """
    if bool(inputs) == (vectors is not None):
        raise InputError("give either texts or files to embed and invert, or a file of --vectors")
    of_vectors = {"column": column, "collection": collection, "ranges": ranges, "strict": strict or None}
    for name, value in of_vectors.items():
        if value is not None and vectors is None:
            raise InputError(f"--{name} belongs to --vectors")
    if restart and out is None:
        raise InputError("--restart belongs to --out")
    from unembed.cli._keeping import check_out, open_results
    from unembed.registry.discovery import modality_of
    from unembed.registry.opening import foreseen

    kind, width = foreseen(searching.inverter)
    meant = next((given for given in inputs if _may_be_vectors(given, kind)), None)
    if meant is not None:
        raise InputError(
            f"{brief(meant)} is a file or folder that may hold vectors; did you mean --vectors {brief(meant)}?"
        )
    check_out(out, kind, searching.inverter, vectors, dry=searching.dry_run)
    source = None if vectors is None else _opened(vectors, column, collection, ranges, width, strict)
    if source is not None and width is not None and source.width != width:
        from unembed.sources.undo import unfit

        raise InputError(unfit(source.width, width, searching.inverter))
    model = searching.open()
    search = searching.settings(model)
    if kind is None:
        kind = modality_of(model)
        check_out(out, kind, searching.inverter, vectors, dry=searching.dry_run)
    targets = _targets(model, inputs, source, vectors, (column, collection, ranges), strict)
    if source is not None and ranges is not None and precision is None:
        precision = _of_ranges(source, ranges)
    note_inputs(model, inputs)
    for line in () if source is None else [*source.notes, *about_norms(source, model.embedder)]:
        note(line)
    if searching.dry_run:
        announce(_forecast(model, inputs, targets, search), as_json)
        return
    settings = _settings(model, search, precision, searching.seed, words)
    claims = Claims()
    with ExitStack() as stack:
        results = stack.enter_context(
            open_results(out, kind, inputs=targets.fingerprint, settings=settings, restart=restart)
        )
        before = results.done
        stack.enter_context(metered(model, searching.max_cost))
        bar = stack.enter_context(progress("inverting", search.limits.steps))
        options = {"precision": precision, "words": words, "seed": searching.seed, "on_step": bar}
        for rows in _results(model, kind, inputs, targets, results, search, options):
            claims.count(rows)
            results.append(rows)
            if out is None or (kind is not None and kind.write is not None):
                with bar.hidden():
                    _print(rows, as_json)
        results.finish()
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


def _opened(
    place: str, column: str | None, collection: str | None, ranges: Path | None, width: int | None, strict: bool
) -> "Source":
    from unembed.sources.opening import open_source

    return open_source(
        place,
        column,
        collection=collection,
        width=width,
        payloads=False,
        strict=strict,
        ranges=None if ranges is None else _numbers(ranges),
    )


def _numbers(path: Path) -> Any:
    """The two rows of a file of ranges: an array, or the arrays `low` and `high` of an .npz."""
    from zipfile import BadZipFile

    import numpy as np

    from unembed.sources.vectors import read_vectors

    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False).astype(np.float64)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                if {"low", "high"} <= set(file.files):
                    return np.stack([file["low"], file["high"]]).astype(np.float64)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise InputError(f"--ranges {path} isn't a readable {path.suffix} file of numbers: {error}") from error
    return read_vectors(path)


def _of_ranges(source: "Source", ranges: Path) -> str:
    """The precision of codes over ranges of their own: an even error within each step."""
    import numpy as np

    low, high = _numbers(ranges)
    steps = (high - low) / 255
    return f"noise:{float(np.sqrt((steps**2).mean() / 12)):.6g}"


def _targets(
    model: "Inverter", inputs: tuple[str, ...], source: "Source | None", place: str | None, chosen: Any, strict: bool
) -> "InputTargets | SourceTargets":
    from unembed.inversion.keeping import digest
    from unembed.inversion.targets import InputTargets, SourceTargets, content_of
    from unembed.sources.undo import unfit

    if source is None or place is None:
        return InputTargets(model, inputs)
    if source.width != model.dimension:
        raise InputError(unfit(source.width, model.dimension, model.name))
    column, collection, ranges = chosen
    content = content_of(place, source)
    beside = None if ranges is None else _numbers(ranges).tolist()
    return SourceTargets(source, model.dimension, digest(content, column, collection, beside), strict=strict)


def _settings(model: "Inverter", search: "Effort", precision: str | None, seed: int, words: bool) -> str:
    """A fingerprint of all that results depend on beside what is inverted."""
    import re

    from unembed.checkpoints.manifest import manifest_json
    from unembed.inversion.keeping import digest

    checkpoint = None if model.manifest is None else manifest_json(model.manifest)
    effort = re.sub(r" at 0x[0-9a-f]+", "", repr(search))  # of what says nothing better of itself
    return digest(model.name, checkpoint, model.embedder.name, effort, precision, seed, *(["words"] if words else []))


def _results(
    model: "Inverter",
    kind: "Modality | None",
    inputs: tuple[str, ...],
    targets: "InputTargets | SourceTargets",
    results: "Results",
    search: "Effort",
    options: dict[str, Any],
) -> "Iterator[list[Row]]":
    """The rows of what is searched together, in order, those that are there left out."""
    waiting: deque[Head] = deque()
    count = results.done

    def vectors() -> Iterator[Any]:
        for heads, batch in targets.batches(results.keys):
            waiting.extend(heads)
            yield batch

    to_files = kind is not None and kind.write is not None
    if to_files:
        options = options | {"trace": True, "at_once": min(FILES, model.at_once(search))}
    for _, found in model.inversions(vectors(), effort=search, **options):
        heads = [waiting.popleft() for _ in range(len(found))]
        mine = inputs[count : count + len(found)]
        exact = model.exact(list(mine), found).tolist() if inputs else [None] * len(found)
        rows = [
            {**head, **{key: value for key, value in row.items() if key != "index"}}
            for head, row in zip(heads, found.rows(exact=exact), strict=True)
        ]
        if to_files:
            assert kind is not None
            files = cast("FileResults", results).write(kind, model, mine or None, found, count)
            rows = [{**row, "reconstruction": file} for row, file in zip(rows, files, strict=True)]
        count += len(rows)
        yield rows


def _print(rows: "list[Row]", as_json: bool) -> None:
    for row in rows:
        if as_json:
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            _show(row)


def _show(row: dict[str, Any]) -> None:
    verdict = {True: ", exact", False: ", not exact", None: ""}[row["exact"]]
    name = f"vector {row['index']}" if "index" in row else row["input"]
    click.echo(click.style(f"{name} ({row['id']})" if "id" in row else name, bold=True))
    click.echo(f"  {row['reconstruction']}")
    similarity = "unknown" if row["similarity"] is None else f"{row['similarity']:.4f}"
    sure = "" if row["confidence"] is None else f", exact with probability {_short_of_certain(row['confidence'])}"
    said = "" if row["verdict"] is None else f"; {VERDICTS.get(row['verdict'], row['verdict'])}"
    click.echo(f"  similarity {similarity}{sure}{verdict}{said}; {row['steps']} steps, {row['queries']} queries")
    if "words" in row:
        known = None if row["words"] is None else [f"{word} {_short_of_certain(sure)}" for word, sure in row["words"]]
        click.echo("  " + ("words aren't calibrated" if known is None else ", ".join(known)))


def _short_of_certain(probability: float) -> str:
    """To three digits, rounded down: no sample shows certainty."""
    return f"{math.floor(1000 * probability) / 1000:.3f}"


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
