"""The public names, and that importing does nothing."""

import subprocess
import sys

import pytest

import unembed

PUBLIC = [
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


def test_public_names_are_these() -> None:
    assert unembed.__all__ == PUBLIC == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_resolve(name) -> None:
    assert getattr(unembed, name) is not None


def test_what_is_listed_are_the_public_names_without_errors_and_config_models() -> None:
    left_out = set(PUBLIC) - set(dir(unembed))
    assert not set(dir(unembed)) - set(PUBLIC)
    assert left_out == {"Config", "Manifest"} | {name for name in PUBLIC if name.endswith("Error")}


def test_help_begins_with_what_people_use_and_has_no_noise(forking) -> None:
    text = forking.run("-c", "import pydoc, unembed; print(pydoc.plain(pydoc.render_doc(unembed)))").stdout
    beginning = "\n".join(text.splitlines()[:30])
    for call in ("unembed.load(", "inverter.embed(", "inverter.invert(", "result.save(", "unembed.evaluate("):
        assert call in beginning
    assert "pydantic" not in text and "Exception" not in text and "load(name" in text


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'invert'"):
        _ = unembed.invert


def test_import_loads_nothing_heavy() -> None:
    heavy = "torch numpy transformers click rich pydantic"
    code = f"import sys, unembed; print([m for m in {heavy.split()} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "first",
    [
        "engine.loop",
        "inversion.evaluation",
        "checkpoints.fingerprint",
        "registry.opening",
        "cli",
        "training",
        "testing",
    ],
)
def test_functions_win_over_modules_whatever_is_imported_first(first, forking) -> None:
    names = "search evaluate fingerprint load plugins"
    code = f"import unembed.{first}, unembed; print(*(callable(getattr(unembed, n)) for n in {names.split()}))"
    assert forking.run("-c", code).stdout == "True True True True True\n"
