"""Writing a new plugin: a small package that works, to be changed part by part."""

import keyword
import os
import re
from pathlib import Path
from typing import Literal

from unembed.errors import InputError, MissingExtraError, OutputError, brief

__all__ = ["Signals", "write_plugin"]

TEMPLATE = Path(__file__).parents[1] / "template"
Signals = Literal["discrete", "continuous"]


def write_plugin(name: str, folder: Path | None = None, *, signals: Signals = "discrete") -> Path:
    """Write the package of a plugin called `name` to `folder` (`./unembed_NAME`), which must not hold anything yet.

    Its `signals` are rows of symbols ("discrete"), or windows of real numbers, as of audio or sensors ("continuous").
    Returns the folder. Raises InputError for a name that can't be a module's or that an installed plugin has, and
    MissingExtraError without the extra `kit`.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(f"a plugin's name is lower-case letters, digits and _, a letter first; got {brief(name)!r}")
    from unembed.registry.discovery import plugins

    for found in plugins():
        if found.name == name:
            raise InputError(f"a plugin {name!r} is installed already, by {found.distribution}; choose another name")
    try:
        from copier import run_copy
    except ImportError as error:
        raise MissingExtraError("writing a plugin needs an extra: pip install 'unembed[kit]'") from error
    folder = Path(f"unembed_{name}") if folder is None else folder
    try:
        if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{brief(folder)} exists and isn't an empty folder; name another with --out")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{brief(folder)} can't be a folder: {error.strerror}; name another with --out") from error
    try:
        for part in ("project", signals):
            data = {"name": name, "signals": signals, "part": part}
            run_copy(str(TEMPLATE), folder, data=data, defaults=True, overwrite=True, quiet=True)
    except OSError as error:
        raise OutputError(f"can't write {brief(folder)}: {error.strerror}") from error
    return folder
