"""The files of a report."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unembed_defend.report.page import page

__all__ = ["write_report"]


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write `report.json` and `report.html`, each whole or not at all, readable by their owner alone."""
    _write(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    _write(folder / "report.html", page(report))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    os.replace(temporary, path)
