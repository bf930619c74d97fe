"""The files of a report, from a folder's rows."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from unembed_audit.pipeline.ledger import read_rows
from unembed_audit.pipeline.sampling import Census
from unembed_audit.report.page import page
from unembed_audit.report.sarif import sarif
from unembed_audit.report.summary import Conditions, summarise

__all__ = ["write_report"]


def write_report(
    folder: Path,
    census: Census,
    conditions: Conditions,
    *,
    wanted: Collection[tuple[str, int]] | None = None,
    complete: bool = True,
) -> dict[str, Any]:
    """Write `report.json`, `report.html` and `report.sarif` into `folder` from its records; returns the first.

    `wanted` are the collections and rows that the report is of, all if None: a folder may hold more, of another sample.
    Each file appears whole or not at all, readable by its owner alone.
    """
    rows = (row for row in read_rows(folder) if wanted is None or (row["collection"], row["row"]) in wanted)
    report = summarise(rows, census, conditions, complete=complete)
    _write(folder / "report.json", _json(report))
    _write(folder / "report.sarif", _json(sarif(report)))
    _write(folder / "report.html", page(report))
    return report


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    os.replace(temporary, path)
