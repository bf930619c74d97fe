"""Folders of audits: the figures of their reports, and their records, masked until somebody asks to see them."""

import json
import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unembed.errors import InputError, brief

__all__ = ["Audit", "open_audits"]

REPORT, RECORDS, SETTINGS = "report.json", "records.jsonl", "settings.json"
BLOT = "█"
NOTHING = b'"findings": []'
FIGURES = ("complete", "method", "rows", "measured", "store", "overall", "by_kind", "by_collection", "conditions")
COLUMNS = (
    "id", "collection", "deleted", "text", "tokens", "similarity", "confidence", "verdict", "exact", "words", "findings"
)  # fmt: skip


def open_audits(folders: Sequence[Path]) -> "list[Audit]":
    """An audit for each folder; raises InputError for one that holds none."""
    return [Audit(folder) for folder in folders]


class Audit:
    """One audit's folder, read again whenever it has changed: an audit can be looked at while it runs."""

    def __init__(self, folder: Path) -> None:
        if not (folder / REPORT).is_file() and not (folder / RECORDS).is_file():
            raise InputError(f"{brief(folder)} is no audit's folder: it holds neither {REPORT} nor {RECORDS}")
        self.folder = folder
        self._size = -1
        self._starts = array("q")
        self._found = array("q")

    def figures(self) -> dict[str, Any]:
        """What the report says, without its examples; `shown` says whether its records hold texts unmasked."""
        self._look()
        report = self._json(REPORT)
        return {
            "name": self.folder.name or str(self.folder.resolve().name),
            "records": len(self._starts),
            "with_findings": len(self._found),
            "shown": self._shown(),
            "report": None if not report else {key: report[key] for key in FIGURES if key in report},
        }

    def records(self, start: int, count: int, *, show: bool, found: bool) -> dict[str, Any]:
        """`count` records from number `start` on, those with findings alone where `found`; masked unless `show`."""
        self._look()
        places = self._found if found else self._starts
        hide = self._shown() and not show
        rows = []
        with open(self.folder / RECORDS, "rb") if len(places) else _Nothing() as file:
            for place in places[start : start + count]:
                file.seek(place)
                row = json.loads(file.readline())
                kept = {key: row.get(key) for key in COLUMNS}
                rows.append(_masked(kept) if hide else kept)
        return {"start": start, "total": len(places), "rows": rows}

    def _look(self) -> None:
        """Note where each whole line begins, where there are more than before."""
        path = self.folder / RECORDS
        size = path.stat().st_size if path.is_file() else 0
        if size == self._size:
            return
        starts, found, place = array("q"), array("q"), 0
        if size:
            with open(path, "rb") as file:
                for line in file:
                    if line.endswith(b"\n") and line.strip():  # a kill cuts the last one short
                        starts.append(place)
                        if NOTHING not in line:
                            found.append(place)
                    place += len(line)
        self._size, self._starts, self._found = size, starts, found

    def _shown(self) -> bool:
        """Whether the audit wrote texts as they are; where it doesn't say, it may have."""
        report = self._json(REPORT)
        if "conditions" in report:
            return bool(report["conditions"].get("shown", True))
        return bool(self._json(SETTINGS).get("show_text", True))

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InputError(f"{name} of {self.folder.name} can't be read: {error}") from error
        return found if isinstance(found, dict) else {}


class _Nothing:
    """A file that isn't there, of which nothing is read."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _masked(row: dict[str, Any]) -> dict[str, Any]:
    """A record with every letter and digit of what was recovered blotted out."""
    findings = [{**one, "value": _blotted(one.get("value"))} for one in row["findings"] or ()]
    return {**row, "text": _blotted(row["text"]), "findings": findings}


def _blotted(text: Any) -> str:
    return re.sub(r"[^\W_]", BLOT, str(text))
