"""Checkpoints from the Hugging Face hub."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unembed.errors import MissingExtraError, UnknownNameError
from unembed.registry.discovery import offers

__all__ = ["from_hub", "is_hub_id", "quiet_hub"]


def is_hub_id(name: str) -> bool:
    """Whether a name could be a hub id, `owner/name`."""
    return len(name) <= 96 and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII) is not None


def from_hub(name: str) -> Path:
    """The folder of the checkpoint with the hub id `name`, downloaded if need be; raises UnknownNameError."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError as error:
        raise MissingExtraError("reading from the hub needs an extra: pip install 'unembed[text]'") from error
    try:
        with quiet_hub():
            return Path(snapshot_download(name))
    except (RepositoryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError) as error:
        known = ", ".join(sorted(offers("inverters"))) or "none"
        raise UnknownNameError(
            f"no inverter {name!r}: it isn't a folder here, and the hub doesn't have it; known names: {known}"
        ) from error


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep the bars of downloads off standard error; whoever had them on has them again afterwards."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()
