"""Every error that unembed raises on purpose.

A message says what was asked, what was found and what to do next, in one line. Each class also inherits
the builtin that fits, so `except ValueError` keeps working in other people's scripts.
"""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "CostLimitError",
    "EmbedderMismatchError",
    "InputError",
    "MissingExtraError",
    "OutputError",
    "PluginError",
    "ServiceError",
    "TrainingError",
    "UnembedError",
    "UnknownNameError",
    "brief",
]


class UnembedError(Exception):
    """The root of every error raised by unembed and its plugins."""


class InputError(UnembedError, ValueError):
    """The vectors, files or arguments that the user gave can't be worked on."""


class UnknownNameError(UnembedError, LookupError):
    """A name (of an inverter, an embedder, a modality) that nothing installed offers."""


class ConfigError(UnembedError, ValueError):
    """A config file or a config value is wrong."""


class CheckpointError(UnembedError, ValueError):
    """A checkpoint folder is incomplete, inconsistent or of an unknown format."""


class EmbedderMismatchError(CheckpointError):
    """The embedder at hand isn't the one that the inverter was trained against."""


class PluginError(UnembedError, RuntimeError):
    """A plugin can't be imported, clashes with another or breaks its contract."""


class ServiceError(UnembedError, RuntimeError):
    """A service that embeds goes on failing, or refuses; what it answered before is kept."""


class CostLimitError(UnembedError, RuntimeError):
    """The next request would cost more than the user allowed."""


class OutputError(UnembedError, OSError):
    """A result can't be written any further: the disk is full or gone; what was written before is kept."""


class TrainingError(UnembedError, RuntimeError):
    """Training can't continue: its loss or its weights aren't finite. The last save is kept."""


class MissingExtraError(UnembedError, ImportError):
    """A library that belongs to an optional extra isn't installed."""


def brief(text: object, limit: int = 100) -> str:
    """`text` for a message: on one line, and shortened in its middle where it is long."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[: limit // 2]} … {line[-limit // 3 :]}"
