"""`audit`: one call from an opened source to a folder with its report."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from unembed import Inverter, RecordBatch, __version__
from unembed.costs.pace import Progress
from unembed_audit.findings.detect import Tag
from unembed_audit.findings.support import SpanCalibration
from unembed_audit.pipeline.inverting import inverted, same_to, tokens_of
from unembed_audit.pipeline.ledger import Ledger
from unembed_audit.pipeline.run import Detectors, run
from unembed_audit.pipeline.sampling import Belongs, Census, Chosen, draw, everything
from unembed_audit.report.summary import Conditions, without_credentials
from unembed_audit.report.writing import write_report

__all__ = ["Interrupted", "Plan", "Source", "audit"]

CPU_BATCH, BATCH = 4, 64  # vectors searched together: a CPU gains nothing by more, and rows come sooner


class Source(Protocol):
    """What is asked of a source: where and what it is, which part of it is read, its vectors' width, notes, records."""

    place: str
    kind: str
    column: str | None
    collection: str | None
    width: int
    count: int | None
    precision: str
    notes: list[str]

    def batches(self, size: int = 1024) -> Iterator[RecordBatch]:
        """Every record in batches; each call begins anew."""
        ...


class Interrupted(KeyboardInterrupt):
    """An audit was interrupted when `kept` of `total` records (None: not known) were done; their report is written."""

    def __init__(self, kept: int, total: int | None) -> None:
        super().__init__(kept, total)
        self.kept, self.total = kept, total


@dataclass(frozen=True)
class Plan:
    """What to do: `sample` records of each collection (None: all), how hard to search, what may be shown.

    `identified` is what is known of the vectors' embedder, in words. `batch` vectors are searched together (None: few
    on a CPU, more on an accelerator); a stopped audit loses no more than those. Vectors for which `belongs` doesn't
    hold are another model's: they are counted and left out. `content` is a digest of what the source holds
    (`content_of`): an audit doesn't go on with other vectors than it began with.
    """

    sample: int | None = 200
    effort: str = "medium"
    seed: int = 0
    shown: bool = False
    restart: bool = False
    identified: str = "not checked"
    batch: int | None = None
    tag: Tag | None = None
    calibration: SpanCalibration | None = None
    belongs: Belongs | None = None
    content: str | None = None


def audit(
    source: Source,
    inverter: Inverter,
    folder: Path,
    plan: Plan,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Audit a source into `folder` and return its report as `report.json` has it.

    Every row is in `records.jsonl` as soon as it is known; called again with the same source and plan it goes on there.
    Of the same store and seed a smaller sample lies within a larger one, so that rows of another sample serve too; the
    report is of the sample that was asked for. A report is also written of what was done when it is interrupted, marked
    as incomplete: see Interrupted. Raises InputError for a folder that was begun with another plan or other vectors.
    """
    began, census = time.monotonic(), Census()
    records: Iterator[Chosen] | list[Chosen]
    wanted: frozenset[tuple[str, int]] | None = None
    if plan.sample is None:
        records, total = everything(source.batches(), census, width=source.width, belongs=plan.belongs), source.count
    else:
        records = draw(
            source.batches(),
            plan.sample,
            seed=plan.seed,
            census=census,
            width=source.width,
            belongs=plan.belongs,
        )
        wanted, total = frozenset(one.key for one in records), len(records)
    detectors = Detectors(
        same=partial(same_to, inverter),
        tokens=partial(tokens_of, inverter),
        tag=plan.tag,
        calibration=plan.calibration,
        show=plan.shown,
    )
    conditions = _conditions(source, inverter, plan)
    batch = plan.batch or (CPU_BATCH if inverter.embedder.device.type == "cpu" else BATCH)
    finish = partial(_finish, folder, census, conditions, source, began, wanted)
    with Ledger(folder, _settings(source, inverter, plan), restart=plan.restart) as ledger:
        try:
            run(
                records,
                invert=partial(inverted, inverter, effort=plan.effort, seed=plan.seed, at_once=batch),
                ledger=ledger,
                detectors=detectors,
                total=total,
                before=len(ledger.done if wanted is None else ledger.done & wanted),
                batch=batch,
                on_progress=on_progress,
            )
        except KeyboardInterrupt as error:
            raise Interrupted(finish(complete=False)["rows"], total) from error
    return finish(complete=True)


def _finish(
    folder: Path,
    census: Census,
    conditions: Conditions,
    source: Source,
    began: float,
    wanted: frozenset[tuple[str, int]] | None,
    *,
    complete: bool,
) -> dict[str, Any]:
    notes = tuple(note for note in source.notes if note not in census.notes)
    given = replace(conditions, seconds=round(time.monotonic() - began, 1), notes=notes)
    return write_report(folder, census, given, wanted=wanted, complete=complete)


def _settings(source: Source, inverter: Inverter, plan: Plan) -> dict[str, Any]:
    """What rows depend on: a folder holds rows of one such set alone."""
    return {
        "source": without_credentials(source.place),
        "column": source.column,
        "collection": source.collection,
        "records": source.count,
        "content": plan.content,
        "inverter": inverter.name,
        "embedder": inverter.embedder.name,
        "effort": plan.effort,
        "seed": plan.seed,
        "show_text": plan.shown,
        "tagger": plan.tag is not None,
        "foreign_left_out": plan.belongs is not None,
        "version": __version__,
    }


def _conditions(source: Source, inverter: Inverter, plan: Plan) -> Conditions:
    detectors = "formats, check digits" + (" and a tagger" if plan.tag is not None else " alone")
    return Conditions(
        place=source.place,
        kind=source.kind,
        column=source.column,
        collection=source.collection,
        inverter=inverter.name,
        embedder=inverter.embedder.name,
        identified=plan.identified,
        width=source.width,
        effort=plan.effort,
        precision=source.precision,
        domain=_domain(inverter),
        detectors=detectors,
        names_found=plan.tag is not None,
        sample=plan.sample,
        seed=plan.seed,
        shown=plan.shown,
        version=__version__,
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _domain(inverter: Inverter) -> str:
    """What an inverter was trained for and its confidence calibrated on, as its manifest says."""
    manifest = inverter.manifest
    if manifest is None:
        return "not recorded"
    examples = manifest.training.get("examples")
    trained = f", trained on {examples:,} examples" if isinstance(examples, int) else ""
    calibrated = manifest.calibration
    sure = "; without a calibration" if calibrated is None else f"; calibrated on {calibrated.n:,} texts"
    return f"{manifest.summary or manifest.name}{trained}{sure}"
