"""What the text plugin offers. Heavy imports wait for the factories."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unembed.registry.extras import needs_extra
from unembed.registry.hooks import hookimpl
from unembed.registry.specs import CommandSpec, EmbedderSpec, InverterSpec, Modality
from unembed_text.methods.vec2text.published import PAIRS, Pair, pair_folder

if TYPE_CHECKING:
    import click
    import torch

    from unembed.checkpoints.manifest import Manifest
    from unembed.contract.embedder import Embedder
    from unembed.inversion.inverter import Inverter
    from unembed.training.recipe import Recipe

WEIGHTS = Path(__file__).parent / "weights"
GTR = "sentence-transformers/gtr-t5-base"

_with_extra = needs_extra("text", "texts need", {"sacrebleu", "sentence_transformers", "tokenizers", "transformers"})


@hookimpl
def register_inverters() -> list[InverterSpec]:
    minilm = partial(Path, WEIGHTS / "minilm")
    return [
        InverterSpec(
            "minilm",
            "texts of up to 32 tokens from all-MiniLM-L6-v2 vectors (384 wide)",
            partial(_open_folder, minilm),
            minilm,
        ),
        *(_published(pair) for pair in PAIRS),
    ]


def _published(pair: Pair) -> InverterSpec:
    folder = partial(pair_folder, pair)
    return InverterSpec(pair.name, pair.summary, partial(_open_folder, folder), folder)


def _open_folder(folder: "partial[Path]", device: "torch.device") -> "Inverter":
    from unembed.registry.opening import open_checkpoint

    return open_checkpoint(folder(), device)


@hookimpl
def register_embedders() -> list[EmbedderSpec]:
    return [
        EmbedderSpec("minilm", "all-MiniLM-L6-v2, from an installed package or the hub", _minilm),
        EmbedderSpec("st", "any sentence-transformers model: st:FOLDER or st:HUB_ID", partial(_local, "st")),
        EmbedderSpec("hf", "any transformers encoder: hf:FOLDER?pooling=mean", partial(_local, "hf")),
        EmbedderSpec("onnx", "an ONNX graph and its tokenizer: onnx:FOLDER?pooling=mean", partial(_local, "onnx")),
        EmbedderSpec(
            "openai", "OpenAI's API: openai:text-embedding-3-small?dimensions=256", partial(_service, "openai")
        ),
        EmbedderSpec("cohere", "Cohere's API: cohere:embed-v4.0", partial(_service, "cohere")),
        EmbedderSpec("voyage", "Voyage AI's API: voyage:voyage-3.5", partial(_service, "voyage")),
        EmbedderSpec("gemini", "Google's API: gemini:gemini-embedding-001", partial(_service, "gemini")),
        EmbedderSpec("ollama", "an Ollama server on this machine: ollama:MODEL", partial(_service, "ollama")),
        EmbedderSpec("http", "an OpenAI-compatible server: http://HOST:PORT/v1#MODEL", partial(_server, "http")),
        EmbedderSpec("https", "the same, encrypted: https://HOST/v1#MODEL", partial(_server, "https")),
        EmbedderSpec("gtr-base", "GTR-base as vec2text embeds: states averaged, not normalised", _gtr),
        EmbedderSpec("gtr-base-st", "GTR-base as sentence-transformers embeds: dense layer, normalised", _gtr_st),
    ]


@hookimpl
def register_modalities() -> list[Modality]:
    return [
        Modality("text", "texts as the embedder's token ids", _open_text, _text_recipe),
        Modality("vec2text", "texts as T5 ids, for any text embedder", _open_pair, _pair_recipe),
    ]


@hookimpl
def register_commands() -> list[CommandSpec]:
    return [CommandSpec("import-vec2text", "Turn a published vec2text pair into a checkpoint.", _import_command)]


@_with_extra
def _minilm(argument: str, device: "torch.device") -> "Embedder":
    from unembed_text.embedders.local import minilm

    return minilm(device)


@_with_extra
def _local(kind: Literal["st", "hf", "onnx"], argument: str, device: "torch.device") -> "Embedder":
    from unembed_text.embedders.names import local_embedder

    return local_embedder(kind, argument, name=f"{kind}:{argument}", device=device)


def _service(kind: str, argument: str, device: "torch.device") -> "Embedder":
    from unembed_text.embedders.api.embedder import named_service

    return named_service(kind, argument, device)


def _server(scheme: str, argument: str, device: "torch.device") -> "Embedder":
    from unembed_text.embedders.api.embedder import url_service

    return url_service(scheme, argument, device)


@_with_extra
def _gtr(argument: str, device: "torch.device") -> "Embedder":
    from unembed_text.embedders.names import local_embedder

    return local_embedder("hf", argument, name="gtr-base", device=device, source=GTR, fixed={"pooling": "mean"})


@_with_extra
def _gtr_st(argument: str, device: "torch.device") -> "Embedder":
    from unembed_text.embedders.names import local_embedder

    return local_embedder("st", argument, name="gtr-base-st", device=device, source=GTR)


@_with_extra
def _open_text(folder: Path, manifest: "Manifest", device: "torch.device") -> "Inverter":
    from unembed_text.methods.closed.checkpoint import open_checkpoint

    return open_checkpoint(folder, manifest, device)


@_with_extra
def _open_pair(folder: Path, manifest: "Manifest", device: "torch.device") -> "Inverter":
    from unembed_text.methods.vec2text.checkpoint import open_checkpoint

    return open_checkpoint(folder, manifest, device)


@_with_extra
def _text_recipe(options: Mapping[str, Any]) -> "Recipe":
    from unembed_text.methods.closed.recipe import TextRecipe

    return TextRecipe(options)


@_with_extra
def _pair_recipe(options: Mapping[str, Any]) -> "Recipe":
    from unembed_text.methods.vec2text.recipe import PairRecipe

    return PairRecipe(options)


@_with_extra
def _import_command() -> "click.Command":
    from unembed_text.methods.vec2text.command import import_vec2text

    return import_vec2text
