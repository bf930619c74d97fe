"""The work of `unembed invert`: here, one group of vectors after the other, or on an engine's workers, by blocks."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unembed.cli.invert.claims import Claims
from unembed.errors import InputError

if TYPE_CHECKING:
    from unembed.bulk.blocks import Engine
    from unembed.bulk.parts import Parts
    from unembed.cli._progress import Rows
    from unembed.cli._shared import Searching
    from unembed.cli.invert.keeping import FileResults, Results
    from unembed.engine.effort import Effort
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.results import Row
    from unembed.inversion.targets import InputTargets, SourceTargets
    from unembed.registry.specs import Modality

__all__ = ["check_engine", "here", "on_engine"]

FILES = 32  # results that are files, searched together at most: as many as fit on one sheet


def here(
    model: "Inverter",
    kind: "Modality | None",
    inputs: tuple[str, ...],
    targets: "InputTargets | SourceTargets",
    results: "Results",
    search: "Effort",
    bar: "Rows",
    options: dict[str, Any],
) -> "Iterator[list[Row]]":
    """The rows of what is searched together, in order, those that are there left out; they are kept before."""
    from unembed.bulk.worker import inverted, rows_of
    from unembed.costs.pace import Progress

    before, began = results.done, time.monotonic()
    count = before
    to_files = kind is not None and kind.write is not None
    if to_files:
        options = options | {"trace": True, "at_once": min(FILES, model.at_once(search))}
    bar(Progress(0, before, targets.count, 0.0))
    for heads, found in inverted(model, targets.batches(results.keys), search, on_step=bar.step, **options):
        mine = inputs[count : count + len(found)]
        exact = model.exact(list(mine), found).tolist() if inputs else [None] * len(found)
        rows = rows_of(heads, found, exact)
        if to_files:
            assert kind is not None
            files = cast("FileResults", results).write(kind, model, mine or None, found, count)
            rows = [{**row, "reconstruction": file} for row, file in zip(rows, files, strict=True)]
        count += len(rows)
        results.append(rows)
        bar(Progress(count - before, before, targets.count, time.monotonic() - began))
        yield rows


def check_engine(
    name: str | None, workers: int | None, searching: "Searching", kind: "Modality | None", out: Path | None, given: Any
) -> None:
    """Raise InputError for an engine that isn't there, and for what workers elsewhere can't do."""
    if name is None:
        if workers is not None:
            raise InputError("--workers belongs to --engine")
        return
    from unembed.bulk.parts import check_parts
    from unembed.registry.discovery import offered, unknown

    if offered("engines", name) is None:
        raise unknown("engines", name, "without --engine the work is done here")
    if given is None or out is None:
        raise InputError(f"--engine {name} is for --vectors, and needs a folder for its results: --out FOLDER")
    if kind is not None and kind.write is not None:
        raise InputError(f"--engine {name} keeps rows; what inverter {searching.inverter!r} recovers are files")
    if searching.max_cost is not None:
        raise InputError(f"--max-cost can't be held over the workers of --engine {name}; leave the engine out")
    if not searching.dry_run:
        check_parts(out)


def on_engine(
    name: str,
    workers: int | None,
    model: "Inverter",
    searching: "Searching",
    targets: "SourceTargets",
    parts: "Parts",
    search: "Effort",
    bar: "Rows",
    options: dict[str, Any],
) -> "Claims":
    """Have an engine's workers invert the blocks that aren't there, and keep their rows; returns what these say."""
    import torch

    from unembed.bulk.blocks import Work, block_size, blocks_of
    from unembed.costs.pace import Progress
    from unembed.inversion.stream import at_once
    from unembed.registry.discovery import offered

    if model.embedder.meter is not None:
        raise InputError(
            f"--engine {name} is for embedders that run on its workers; {model.embedder.name!r} is asked over a "
            "network, at a cost that workers can't hold together: leave the engine out"
        )
    claims, before, began, done = Claims(), parts.count, time.monotonic(), 0
    engine: Engine
    with offered("engines", name).load(workers=workers, device=searching.device) as engine:
        signal = model.codec.encode(model.codec.probes[:1])[0]
        group = at_once(search.fitted(model.parts), signal, model.dimension, torch.device(engine.device))
        size = parts.begin(block_size(targets.count, group))
        work = Work(_anywhere(searching.inverter), search, group, searching.embedder, engine.device, options)
        bar(Progress(0, before, targets.count, 0.0))
        for first, rows in engine.run(work, blocks_of(targets.pieces(parts.first_missing()), size, parts.done)):
            parts.append(first, rows)
            claims.count(rows)
            done += len(rows)
            bar(Progress(done, before, targets.count, time.monotonic() - began))
    return claims


def _anywhere(inverter: str) -> str:
    """The name of an inverter, or the whole path of its folder: workers have working folders of their own."""
    from unembed.registry.discovery import offered

    folder = os.path.expanduser(inverter)
    return os.path.abspath(folder) if offered("inverters", inverter) is None and os.path.isdir(folder) else inverter
