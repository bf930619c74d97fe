"""Encoders without a sentence-transformers wrapping: plain transformers models."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.errors import InputError
from unembed_text.decoder.attention import has_kernel
from unembed_text.decoder.blocks import Encoder, supports
from unembed_text.decoder.convert import share_encoder
from unembed_text.embedders.local import LocalEmbedder
from unembed_text.embedders.pooling import Pooling, pool
from unembed_text.sources.foreign_tokenizers import first_line, read_tokenizer, token_limit, without_bars

__all__ = ["TransformerEmbedder"]


class TransformerEmbedder(LocalEmbedder):
    """A transformers encoder, by hub id or folder, its states pooled and, with `normalize`, scaled to length 1."""

    def __init__(
        self,
        source: str,
        *,
        name: str,
        device: torch.device | str = "cpu",
        pooling: Pooling = "mean",
        normalize: bool = False,
        prompt: str = "",
        max_tokens: int | None = None,
    ) -> None:
        from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoConfig, AutoModel, AutoModelForTextEncoding

        tokenizer = read_tokenizer(source)
        try:
            with without_bars():
                config = AutoConfig.from_pretrained(source)
                kind = AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
                model = kind.from_pretrained(source, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise InputError(f"can't load the transformers model {source!r}: {first_line(error)}") from error
        super().__init__(
            _Pooled(model.to(device), pooling, normalize, name).eval(),
            tokenizer,
            name=name,
            longest=max_tokens or token_limit(tokenizer, config),
            normalized=normalize,
            prompt=prompt,
            device=device,
        )


class _Pooled(torch.nn.Module):
    def __init__(self, model: Any, pooling: Pooling, normalize: bool, name: str) -> None:
        super().__init__()
        self.model: Any = model
        self.pooling, self.normalize, self.name = pooling, normalize, name
        self.encoder: Encoder | None = None  # our blocks over the same parameters, fewer kernels on a GPU
        if model.config.model_type == "t5" and supports(model.config):
            self.encoder = share_encoder(model)
            if has_kernel(model.shared.weight, 1, 1, model.config.d_kv):
                for block in self.encoder.blocks:
                    block.fuse_qkv()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "pooler":
            vectors = self.model(input_ids=ids, attention_mask=mask).get("pooler_output")
            if vectors is None:
                raise InputError(f"{self.name}: the model has no pooler; choose pooling=mean, cls, last or max")
        else:
            vectors = pool(self._states(ids, mask), mask, self.pooling)
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        model, length = self.model, ids.shape[1]
        states: Tensor
        # In float16 a T5 needs the clamps of its own.
        ours = self.encoder if model.dtype != torch.float16 else None
        if ours is not None and has_kernel(ids, length, length, model.config.d_kv):
            states = ours(model.encoder.embed_tokens(ids), torch.where(mask.bool(), 0.0, -1e9)[:, None, None])
        else:
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        return states
