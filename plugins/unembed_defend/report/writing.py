"""The files of a report."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unembed_defend.report.page import page

__all__ = ["write_file", "write_report"]


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write `report.json` and `report.html`, each whole or not at all, readable by their owner alone."""
    write_file(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    write_file(folder / "report.html", page(report))


def write_file(path: Path, given: str | bytes) -> None:
    """Write a file whole or not at all, readable by its owner alone."""
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(given.encode("utf-8") if isinstance(given, str) else given)
    os.replace(temporary, path)
