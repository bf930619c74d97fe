"""`records.jsonl`: a row as soon as it is known, and where a killed audit goes on."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from unembed.errors import InputError
from unembed.inversion.keeping import Lines, read_lines

__all__ = ["RECORDS", "SETTINGS", "Ledger", "read_rows"]

RECORDS, SETTINGS = "records.jsonl", "settings.json"


class Ledger:
    """The rows of one audit, or of other work that `what` names, in `folder`, appended and flushed one by one.

    What a row is known by are its values of `keys`.

    Opening a folder that has rows goes on after them; a last line that a kill cut short is dropped. `settings` are
    what rows depend on: a folder begun with others is refused with InputError, so that no report mixes two audits.
    The folder and its files can be read by their owner alone.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        restart: bool = False,
        keys: Sequence[str] = ("collection", "row"),
        what: str = "an audit",
    ) -> None:
        self.path = folder / RECORDS
        self._keys, self._what = tuple(keys), what
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if restart:
                self.path.unlink(missing_ok=True)
                (folder / SETTINGS).unlink(missing_ok=True)
            self._agree(folder / SETTINGS, dict(settings))
        except OSError as error:
            raise InputError(f"can't write to {folder}: {error.strerror}") from error
        self._lines = Lines(self.path, mode=0o600)
        with ExitStack() as stack:
            stack.enter_context(self._lines)
            self.done = {self._key(row) for row in self._lines.rows()}
            self._open = stack.pop_all()

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row; it is on the system's side when this returns."""
        self._lines.append([row])
        self.done.add(self._key(row))

    def _key(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[key] for key in self._keys)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _agree(self, path: Path, settings: dict[str, Any]) -> None:
        settings = json.loads(json.dumps(settings))
        if not path.exists():
            if self.path.exists() and self.path.stat().st_size:
                raise InputError(f"{self.path} is there without {SETTINGS}: choose another folder, or --restart")
            temporary = path.with_suffix(".new")
            temporary.write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            temporary.chmod(0o600)
            os.replace(temporary, path)
            return
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}): choose another folder, or --restart") from error
        other = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
        if other:
            changes = "; ".join(f"{key} was {before.get(key)!r} and is {settings.get(key)!r}" for key in sorted(other))
            raise InputError(
                f"{path.parent} holds {self._what} with other settings ({changes}): choose another --out, or --restart"
            )


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of an audit, in the order in which they were written."""
    path = folder / RECORDS
    yield from read_lines(path) if path.exists() else ()
