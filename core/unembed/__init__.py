"""Recover what was embedded: from a vector and query access to its model, back to the input.

    import unembed

    inverter = unembed.load("minilm")                   # a name, a checkpoint folder or a hub id
    vectors = inverter.embed(["meet me at noon"])       # float32 [N, D]; your own arrays and lists do as well
    result = inverter.invert(vectors, effort="low")     # result.objects, result.similarity, result.confidence
    result.save("results.jsonl")                        # or: for row in result; result.to_pandas()
    unembed.evaluate(inverter, ["meet me at noon"])     # how much of texts, or of a file of them, comes back

- Open by name: `load`, `load_embedder`; `plugins` lists what there is. `adapt` aims an inverter at another embedder.
- Invert and measure: `Inverter`, `Inversion`, `evaluate`, `Evaluation`.
- Read files, stores and servers: `open_source`, `read_vectors`, `read_passages`.
- Search in your own way: `search`, `Effort`, `Limits`, and the moves `Guess`, `Correct`, `Edit`, `Combine`.
- Write a plugin: `Embedder`, `Codec`, `Hypothesizer`, `Corrector`, `Recipe`, the specs, `hookimpl`; then
  `unembed.testing` checks it.
- Errors all derive from `UnembedError` and lie in `unembed.errors`.

Importing it imports nothing else; a name is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

from unembed.version import __version__

if TYPE_CHECKING:
    from unembed.checkpoints.fingerprint import fingerprint
    from unembed.checkpoints.manifest import Manifest
    from unembed.checkpoints.tensors import load_checkpoint, save_checkpoint
    from unembed.config import Config, parse
    from unembed.contract.codec import Codec, SequenceCodec
    from unembed.contract.defence import Defence
    from unembed.contract.embedder import Embedder
    from unembed.contract.metric import Metric
    from unembed.contract.proposers import Corrector, Editor, Hypothesizer
    from unembed.contract.similarity import cosine
    from unembed.costs.meter import Meter
    from unembed.engine.effort import Effort
    from unembed.engine.limits import Limits
    from unembed.engine.loop import Made, Proposal, SearchResult, Step, search
    from unembed.engine.moves import Asking, Combine, Correct, Edit, Either, Guess, Move, Widen
    from unembed.engine.state import Ask, Candidates, Parts, State
    from unembed.errors import (
        CheckpointError,
        ConfigError,
        CostLimitError,
        EmbedderMismatchError,
        InputError,
        MissingExtraError,
        OutputError,
        PluginError,
        ServiceError,
        TrainingError,
        UnembedError,
        UnknownNameError,
    )
    from unembed.inversion.evaluation import Evaluation, evaluate
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.results import Inversion
    from unembed.registry.adapting import adapt
    from unembed.registry.discovery import plugins
    from unembed.registry.hooks import hookimpl
    from unembed.registry.lazy import lazy
    from unembed.registry.opening import load, load_embedder
    from unembed.registry.specs import (
        CommandSpec,
        DefenceSpec,
        EmbedderSpec,
        EngineSpec,
        InverterSpec,
        Method,
        Modality,
        SourceSpec,
    )
    from unembed.sources.opening import open_source
    from unembed.sources.passages import read_passages
    from unembed.sources.records import RecordBatch, SkippedRow, SourceContents, SourceRequest
    from unembed.sources.source import Source
    from unembed.sources.vectors import read_vectors
    from unembed.training.recipe import Recipe

__all__ = [
    "Ask",
    "Asking",
    "Candidates",
    "CheckpointError",
    "Codec",
    "Combine",
    "CommandSpec",
    "Config",
    "ConfigError",
    "Correct",
    "Corrector",
    "CostLimitError",
    "Defence",
    "DefenceSpec",
    "Edit",
    "Editor",
    "Effort",
    "Either",
    "Embedder",
    "EmbedderMismatchError",
    "EmbedderSpec",
    "EngineSpec",
    "Evaluation",
    "Guess",
    "Hypothesizer",
    "InputError",
    "Inversion",
    "Inverter",
    "InverterSpec",
    "Limits",
    "Made",
    "Manifest",
    "Meter",
    "Method",
    "Metric",
    "MissingExtraError",
    "Modality",
    "Move",
    "OutputError",
    "Parts",
    "PluginError",
    "Proposal",
    "Recipe",
    "RecordBatch",
    "SearchResult",
    "SequenceCodec",
    "ServiceError",
    "SkippedRow",
    "Source",
    "SourceContents",
    "SourceRequest",
    "SourceSpec",
    "State",
    "Step",
    "TrainingError",
    "UnembedError",
    "UnknownNameError",
    "Widen",
    "__version__",
    "adapt",
    "cosine",
    "evaluate",
    "fingerprint",
    "hookimpl",
    "lazy",
    "load",
    "load_checkpoint",
    "load_embedder",
    "open_source",
    "parse",
    "plugins",
    "read_passages",
    "read_vectors",
    "save_checkpoint",
    "search",
]

_HOME = {
    "checkpoints.fingerprint": ("fingerprint",),
    "checkpoints.manifest": ("Manifest",),
    "checkpoints.tensors": ("load_checkpoint", "save_checkpoint"),
    "config": ("Config", "parse"),
    "contract.codec": ("Codec", "SequenceCodec"),
    "contract.defence": ("Defence",),
    "contract.embedder": ("Embedder",),
    "contract.metric": ("Metric",),
    "contract.proposers": ("Corrector", "Editor", "Hypothesizer"),
    "contract.similarity": ("cosine",),
    "costs.meter": ("Meter",),
    "engine.effort": ("Effort",),
    "engine.limits": ("Limits",),
    "engine.loop": ("Made", "Proposal", "SearchResult", "Step", "search"),
    "engine.moves": ("Asking", "Combine", "Correct", "Edit", "Either", "Guess", "Move", "Widen"),
    "engine.state": ("Ask", "Candidates", "Parts", "State"),
    "errors": (
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
    ),
    "inversion.evaluation": ("Evaluation", "evaluate"),
    "inversion.inverter": ("Inverter",),
    "inversion.results": ("Inversion",),
    "registry.adapting": ("adapt",),
    "registry.discovery": ("plugins",),
    "registry.hooks": ("hookimpl",),
    "registry.lazy": ("lazy",),
    "registry.opening": ("load", "load_embedder"),
    "registry.specs": (
        "CommandSpec",
        "DefenceSpec",
        "EmbedderSpec",
        "EngineSpec",
        "EngineSpec",
        "InverterSpec",
        "Method",
        "Modality",
        "SourceSpec",
    ),
    "sources.opening": ("open_source",),
    "sources.passages": ("read_passages",),
    "sources.records": ("RecordBatch", "SkippedRow", "SourceContents", "SourceRequest"),
    "sources.source": ("Source",),
    "sources.vectors": ("read_vectors",),
    "training.recipe": ("Recipe",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'unembed' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"unembed.{_MODULE[name]}"), name)
    return value


# `help` would bury the rest under what these inherit from pydantic and Exception; `dir` leaves them out too.
_UNLISTED = {"Config", "Manifest", *_HOME["errors"]}


def __dir__() -> list[str]:
    return [name for name in __all__ if name not in _UNLISTED]
