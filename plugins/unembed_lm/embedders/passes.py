"""The forward passes of a language model, after a beginning that all prompts share."""

import inspect
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

__all__ = ["Passes", "TransformerPasses"]


class Passes(ABC):
    """Last hidden states of ids that stand after the same `before` `[P]` in every row.

    Padding is on the right, where causal attention doesn't see it.
    """

    before: Tensor
    begins: bool  # whether `begin` can be asked

    @abstractmethod
    def read(self, ids: Tensor, sizes: Tensor, more: int = 0) -> tuple[Tensor, Any]:
        """States `[R, L, width]` of ids `[R, L]`, `sizes` `[R]` of each row, and what `write` needs for `more` tokens.

        That is None where nothing is kept: rows must then be read again.
        """

    @abstractmethod
    def write(self, token: Tensor, position: Tensor, kept: Any) -> Tensor:
        """States `[R, width]` after one more token `[R]` a row, at its `position` `[R]` counted from the very start."""

    @abstractmethod
    def begin(self, rows: int, more: int) -> Any:
        """What `write` needs where nothing but `before`, less its last token, has been read."""


class TransformerPasses(Passes):
    """Those of any causal model of transformers, with the cache that it keeps; of plain attention alone if it does."""

    def __init__(self, model: Any, before: Tensor) -> None:
        self.model, self.before = model.base_model, before
        named = inspect.signature(self.model.forward).parameters
        self._name = "cache" if "cache" in named else "past_key_values"  # the older name
        self.prefix = self._read_before(model.config)
        self.begins = self.prefix is not None

    def read(self, ids: Tensor, sizes: Tensor, more: int = 0) -> tuple[Tensor, Any]:
        """See `Passes`."""
        columns, size = ids.shape[1], len(self.before)
        cache = self._cache(len(ids))
        whole = ids if cache is not None else torch.cat([self.before.expand(len(ids), -1), ids], 1)
        place = torch.arange(size + columns, device=ids.device)
        seen = place < size + sizes[:, None]
        states = self._run(whole, seen, place[-whole.shape[1] :].expand(len(ids), -1), cache)
        return states[:, -columns:], None if cache is None else (cache, seen)

    def write(self, token: Tensor, position: Tensor, kept: Any) -> Tensor:
        """See `Passes`."""
        cache, seen = kept
        length = cache.get_seq_length()
        seen = torch.nn.functional.pad(seen, (0, length + 1 - seen.shape[1]), value=True)
        return self._run(token[:, None], seen, position[:, None], cache)[:, -1]

    def begin(self, rows: int, more: int) -> Any:
        """See `Passes`."""
        cache, size = self._cache(rows), len(self.before)
        cache.crop(-1)
        return cache, torch.ones(rows, size - 1, dtype=torch.bool, device=self.before.device)

    def _run(self, ids: Tensor, seen: Tensor, position: Tensor, cache: Any) -> Tensor:
        given = {} if cache is None else {self._name: cache}
        found: Tensor = self.model(
            input_ids=ids, attention_mask=seen.long(), position_ids=position, use_cache=cache is not None, **given
        ).last_hidden_state
        return found

    def _read_before(self, config: Any) -> list[tuple[Tensor, Tensor]] | None:
        from transformers import DynamicCache

        if not len(self.before):
            return None
        cache = DynamicCache(config=config)
        with torch.no_grad():
            self.model(input_ids=self.before[None], use_cache=True, **{self._name: cache})
        if any(type(layer).__name__ != "DynamicLayer" for layer in cache.layers):
            return None
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _cache(self, rows: int) -> Any:
        if self.prefix is None:
            return None
        from transformers import DynamicCache

        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.prefix):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
        return cache
