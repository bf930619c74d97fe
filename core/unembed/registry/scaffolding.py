"""Writing a new plugin: a small package that works, to be changed part by part."""

import keyword
import os
import re
from pathlib import Path

from unembed.errors import InputError, MissingExtraError, OutputError, brief

__all__ = ["write_plugin"]

TEMPLATE = Path(__file__).parents[1] / "template"


def write_plugin(name: str, folder: Path | None = None) -> Path:
    """Write the package of a plugin called `name` to `folder` (`./unembed_NAME`), which must not hold anything yet.

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
        run_copy(str(TEMPLATE), folder, data={"name": name}, defaults=True, quiet=True)
    except OSError as error:
        raise OutputError(f"can't write {brief(folder)}: {error.strerror}") from error
    return folder
