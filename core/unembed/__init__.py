"""unembed recovers what was embedded: from a vector and query access to its model, back to the input.

Importing it imports nothing else; a name is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unembed.checkpoint import Manifest, load_checkpoint, save_checkpoint
    from unembed.config import Config, parse
    from unembed.effort import Effort
    from unembed.errors import (
        CheckpointError,
        ConfigError,
        CostLimitError,
        EmbedderMismatchError,
        InputError,
        MissingExtraError,
        PluginError,
        ServiceError,
        UnembedError,
        UnknownNameError,
    )
    from unembed.evaluation import Evaluation, evaluate
    from unembed.fingerprinting import fingerprint
    from unembed.hooks import hookimpl
    from unembed.interfaces import Codec, Corrector, Editor, Embedder, Hypothesizer, SequenceCodec, cosine
    from unembed.inverter import Inversion, Inverter
    from unembed.loop import SearchResult, Step, search
    from unembed.metering import Meter
    from unembed.metrics import Metric
    from unembed.passages import read_passages
    from unembed.registry import CommandSpec, EmbedderSpec, InverterSpec, Modality, load, load_embedder, plugins
    from unembed.training.recipe import Recipe
    from unembed.vectors import read_vectors

__all__ = [
    "CheckpointError",
    "Codec",
    "CommandSpec",
    "Config",
    "ConfigError",
    "Corrector",
    "CostLimitError",
    "Editor",
    "Effort",
    "Embedder",
    "EmbedderMismatchError",
    "EmbedderSpec",
    "Evaluation",
    "Hypothesizer",
    "InputError",
    "Inversion",
    "Inverter",
    "InverterSpec",
    "Manifest",
    "Meter",
    "Metric",
    "MissingExtraError",
    "Modality",
    "PluginError",
    "Recipe",
    "SearchResult",
    "SequenceCodec",
    "ServiceError",
    "Step",
    "UnembedError",
    "UnknownNameError",
    "__version__",
    "cosine",
    "evaluate",
    "fingerprint",
    "hookimpl",
    "load",
    "load_checkpoint",
    "load_embedder",
    "parse",
    "plugins",
    "read_passages",
    "read_vectors",
    "save_checkpoint",
    "search",
]

_HOME = {
    "checkpoint": ("Manifest", "load_checkpoint", "save_checkpoint"),
    "config": ("Config", "parse"),
    "effort": ("Effort",),
    "errors": (
        "CheckpointError",
        "ConfigError",
        "CostLimitError",
        "EmbedderMismatchError",
        "InputError",
        "MissingExtraError",
        "PluginError",
        "ServiceError",
        "UnembedError",
        "UnknownNameError",
    ),
    "fingerprinting": ("fingerprint",),
    "hooks": ("hookimpl",),
    "interfaces": ("Codec", "Corrector", "Editor", "Embedder", "Hypothesizer", "SequenceCodec", "cosine"),
    "loop": ("SearchResult", "Step", "search"),
    "inverter": ("Inversion", "Inverter"),
    "evaluation": ("Evaluation", "evaluate"),
    "metering": ("Meter",),
    "metrics": ("Metric",),
    "passages": ("read_passages",),
    "registry": ("CommandSpec", "EmbedderSpec", "InverterSpec", "Modality", "load", "load_embedder", "plugins"),
    "training.recipe": ("Recipe",),
    "vectors": ("read_vectors",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'unembed' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"unembed.{_MODULE[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
