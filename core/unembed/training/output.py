"""The output folder of a training: whose it is, one training at a time, a state that is whole, a log that fits it."""

import errno
import json
import logging
import os
import pickle
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from unembed.checkpoints.files import checksum, refuse_foreign
from unembed.errors import CheckpointError, InputError, OutputError, UnembedError, brief
from unembed.training.config import TrainConfig

__all__ = ["Output"]

log = logging.getLogger("unembed.training")

STATE, RECORD, LOCK, LOG, CHECKPOINT = "state.pt", "training.json", ".lock", "log.jsonl", "checkpoint"
SAVES = {STATE, CHECKPOINT, f".{CHECKPOINT}.old", "held"}
OURS = {*SAVES, ".held.old", RECORD, LOCK, LOG, "tensorboard"}
TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.tmp")  # what a kill may leave
# What may change when a training goes on: nothing of it changes what a step does.
FREE = {
    "compile", "device", "evaluate_beam", "evaluate_every", "evaluate_steps", "keep_held", "log_every", "max_seconds",
    "output", "save_every", "steps", "total_seconds",
}  # fmt: skip
KINDS = {"network": dict, "optimizer": dict, "step": int, "examples": int, "seconds": float}
# What reading a damaged pickle may raise.
DAMAGE = (ArithmeticError, AttributeError, EOFError, ImportError, LookupError, OSError, RuntimeError, TypeError,
          ValueError, pickle.UnpicklingError)  # fmt: skip
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
INSTEAD = "train anew in another folder, or begin from its checkpoint"


class Output:
    """The folder in which a training keeps `state.pt`, `checkpoint/`, `log.jsonl` and `training.json`.

    The last has the config that the training began with and the checksums of its states.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = folder / CHECKPOINT
        self._digest: str | None = None  # of the state that lies there

    def check(self, config: TrainConfig, *, resume: bool) -> None:
        """Raise InputError unless a training can begin here, or go on. Changes nothing."""
        name = brief(self.folder)
        try:
            found = set(os.listdir(self.folder)) if _exists(self.folder) else set()
        except (OSError, ValueError) as error:
            raise InputError(f"output {name} can't be a folder: {_reason(error)}") from error
        above = next(place for place in (self.folder, *self.folder.absolute().parents) if place.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            raise InputError(f"output {name} can't be written: there is no permission to write to {above}")
        if LOCK in found:
            with self._locked():
                pass
        found = {entry for entry in found if not TEMPORARY.fullmatch(entry)}
        if resume and STATE not in found:
            raise InputError(f"output {name} has no {STATE} to resume from; train without --resume")
        if resume:
            refuse_foreign(self.checkpoint)
            self._check_settings(config)
            return
        strange = sorted(found - OURS if RECORD in found else found - {LOCK})
        if found & SAVES and not found - OURS and (RECORD in found or STATE in found):
            raise InputError(f"output {name} holds a training; go on with --resume, or name another folder")
        if strange:
            raise InputError(f"output {name} holds {brief(strange[0])}; name a new or an empty folder")

    def _check_settings(self, config: TrainConfig) -> None:
        began, now = (
            dict(_flat(table)) for table in (self._record().get("config", {}), config.model_dump(mode="json"))
        )
        known = began.keys() & now.keys() | {key for key in (*began, *now) if began and key.startswith("recipe.")}
        changed = {key for key in known if began.get(key) != now.get(key)}
        for key in sorted(changed):
            was, wanted = brief(began.get(key)), brief(now.get(key))
            if key not in FREE:
                raise InputError(
                    f"{key} was {was} when this training began and is {wanted} now, which would change what it "
                    f"learns: set it back, or train anew in another folder"
                )
            log.info("going on with %s %s, which was %s", key, wanted, was)

    @contextmanager
    def claimed(self, config: TrainConfig, *, resume: bool) -> Iterator[None]:
        """Make the folder this training's own until the block ends; raises InputError where another one has it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / LOCK).touch()
        except OSError as error:
            raise InputError(f"can't write to output {brief(self.folder)}: {error.strerror}") from error
        with self._locked(), self._room():
            for path in self.folder.iterdir():
                if TEMPORARY.fullmatch(path.name):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            if not resume:
                (self.folder / LOG).unlink(missing_ok=True)
                self._write_record({"config": config.model_dump(mode="json"), "states": []})
            yield

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Turn what a full or failing disk raises into OutputError."""
        try:
            yield
        except OSError as error:
            if isinstance(error, UnembedError) or error.errno not in FULL:
                raise
            raise OutputError(f"can't write to output {brief(self.folder)}: {error.strerror}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            import fcntl
        except ImportError:  # not on Windows
            yield
            return
        with open(self.folder / LOCK, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"another training is writing to output {brief(self.folder)}; wait for it, or name another folder"
                ) from error
            yield

    def write_state(self, state: Mapping[str, Any], config: TrainConfig) -> None:
        """Replace `state.pt`, whole or not at all; raises OutputError."""
        temporary = self.folder / f".{uuid.uuid4().hex[:8]}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                torch.save(state, file)
            digest = checksum(temporary)
            # Both, for a kill may come before the old state is replaced or after.
            states = [known for known in (self._digest, digest) if known is not None]
            began = self._record().get("config") or config.model_dump(mode="json")
            self._write_record({"config": began, "states": states})
            os.replace(temporary, self.folder / STATE)
        except (OSError, RuntimeError) as error:  # torch hides what its file raised
            temporary.unlink(missing_ok=True)
            reason = next((x for x in (error, error.__context__) if isinstance(x, OSError)), error)
            raise OutputError(
                f"can't write {brief(self.folder / STATE)}: {_reason(reason)}; the save before it is kept"
            ) from error
        self._digest = digest

    def read_state(self) -> dict[str, Any]:
        """What was saved last; raises CheckpointError where it is damaged."""
        path, known = self.folder / STATE, self._record().get("states")
        try:
            self._digest = checksum(path)
        except OSError as error:
            raise CheckpointError(f"can't read {path}: {error.strerror}") from error
        if known and self._digest not in known:
            raise CheckpointError(f"{path} is damaged (its checksum differs): {INSTEAD}")
        if not known:
            log.warning("%s has no checksum, as older ones: damage to it may go unnoticed", path)
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except DAMAGE as error:
            raise CheckpointError(f"{path} is damaged ({type(error).__name__}): {INSTEAD}") from error
        for key, kind in KINDS.items():
            if not isinstance(state, dict) or not isinstance(state.get(key), kind):
                raise CheckpointError(f"{path} isn't a training state: its {key} is missing or wrong; {INSTEAD}")
        numbers = (x for x in state["network"].values() if isinstance(x, torch.Tensor) and x.is_floating_point())
        if state["step"] < 0 or not all(x.isfinite().all() for x in numbers):
            raise CheckpointError(f"{path} holds weights that aren't finite, or a negative step: {INSTEAD}")
        return state

    def cut_log(self, step: int) -> None:
        """Leave in `log.jsonl` what was logged before the save of `step`: what comes after is logged again."""
        path = self.folder / LOG
        if not path.is_file():
            return
        kept: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                row = json.loads(line)
                again = row["step"] > step or (row["step"] == step and row["kind"] == "saved")
            except (ValueError, LookupError, TypeError):  # half a line
                again = True
            if again:
                break
            kept.append(line)
        temporary = self.folder / f".{uuid.uuid4().hex[:8]}.tmp"
        temporary.write_text("".join(kept), encoding="utf-8")
        os.replace(temporary, path)

    def _record(self) -> dict[str, Any]:
        path = self.folder / RECORD
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:  # older trainings have none
            return {}
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged ({type(error).__name__}): {INSTEAD}") from error
        if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
            raise CheckpointError(f"{path} isn't a training record: {INSTEAD}")
        return found

    def _write_record(self, record: Mapping[str, Any]) -> None:
        temporary = self.folder / f".{uuid.uuid4().hex[:8]}.tmp"
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.folder / RECORD)


def _exists(path: Path) -> bool:
    """Whether there is something, a link that leads nowhere included; raises OSError for a path that can't be."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or brief(error)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables under dotted keys."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
