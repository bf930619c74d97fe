"""What the text plugin offers. Heavy imports wait for the factories."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unembed.hooks import hookimpl
from unembed.registry import EmbedderSpec, InverterSpec, Modality

if TYPE_CHECKING:
    import torch

    from unembed.checkpoint import Manifest
    from unembed.interfaces import Embedder
    from unembed.inverter import Inverter
    from unembed.training.recipe import Recipe

WEIGHTS = Path(__file__).parent / "weights"


@hookimpl
def register_inverters() -> list[InverterSpec]:
    return [InverterSpec("minilm", "texts of up to 32 tokens from all-MiniLM-L6-v2 vectors (384 wide)", _minilm)]


@hookimpl
def register_embedders() -> list[EmbedderSpec]:
    return [
        EmbedderSpec("minilm", "all-MiniLM-L6-v2, from an installed package or the hub", _minilm_embedder),
        EmbedderSpec("st", "any sentence-transformers model: st:FOLDER or st:HUB_ID", _sentence_transformer),
    ]


@hookimpl
def register_modalities() -> list[Modality]:
    return [Modality("text", "texts as the embedder's token ids", _open, _recipe)]


def _minilm(device: "torch.device") -> "Inverter":
    from unembed.registry import open_checkpoint

    return open_checkpoint(WEIGHTS / "minilm", device)


def _minilm_embedder(argument: str, device: "torch.device") -> "Embedder":
    from unembed_text.embedders import minilm

    return minilm(device)


def _sentence_transformer(argument: str, device: "torch.device") -> "Embedder":
    from unembed.errors import InputError
    from unembed_text.embedders import SentenceTransformerEmbedder

    if not argument:
        raise InputError("st needs a model: st:FOLDER or st:HUB_ID")
    return SentenceTransformerEmbedder(argument, name=f"st:{argument}", device=device)


def _open(folder: Path, manifest: "Manifest", device: "torch.device") -> "Inverter":
    from unembed_text.inverters import open_checkpoint

    return open_checkpoint(folder, manifest, device)


def _recipe(options: Mapping[str, Any]) -> "Recipe":
    from unembed_text.recipe import TextRecipe

    return TextRecipe(options)
