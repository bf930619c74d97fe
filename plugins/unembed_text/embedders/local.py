"""Text embedders that run here: over texts, and over the token ids of their own tokenizer."""

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unembed.errors import InputError
from unembed_text.codecs.wordpiece import filled
from unembed_text.embedders.base import TextEmbedder

__all__ = ["LocalEmbedder"]

CHARACTERS = 12  # of a text that are tokenised for each token that is read: rarely too few


class LocalEmbedder(TextEmbedder):
    """A tokenizer and a network that run here.

    Signals are ids `[N, W]` of the tokenizer without the special tokens, padded on the right; those, and the
    prompt, are added here, and columns that are padding in a whole chunk are left out. `model` takes
    `input_ids` and `attention_mask` `[N, L]` and returns embeddings `[N, D]`; `longest` counts all tokens.
    """

    def __init__(
        self,
        model: Callable[[Tensor, Tensor], Tensor],
        tokenizer: Any,
        *,
        name: str,
        longest: int,
        normalized: bool,
        prompt: str = "",
        device: torch.device | str = "cpu",
    ) -> None:
        self._model = model
        self.tokenizer = tokenizer
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._by_words = _by_words(tokenizer)
        before, after = _affixes(tokenizer, prompt, name)
        self._before, self._after = (torch.tensor(ids, dtype=torch.long, device=device) for ids in (before, after))
        self.max_tokens: int = longest - len(before) - len(after)
        if self.max_tokens < 1:
            raise InputError(f"{name}: {longest} tokens leave no room for a text after the prompt")
        probe = torch.tensor([[*before, *tokenizer("width", add_special_tokens=False)["input_ids"], *after]]).to(device)
        with torch.no_grad():
            width = model(probe, torch.ones_like(probe)).shape[1]
        super().__init__(name=name, modality="text", dimension=width, normalized=normalized, device=device)

    def halved(self, dtype: torch.dtype = torch.float16) -> "LocalEmbedder":
        """A copy in half precision; float16 moves a vector by less than a thousandth, and T5 wants bfloat16's range."""
        other = copy.copy(self)
        if isinstance(self._model, torch.nn.Module):
            other._model = copy.deepcopy(self._model).to(dtype)
        return other

    def compile_layers(self) -> None:
        """Compile what repeats in the model: for training, where queries come by the million."""
        for module in self._model.modules() if isinstance(self._model, torch.nn.Module) else ():
            if isinstance(module, torch.nn.ModuleList):
                for layer in module:
                    layer.compile(dynamic=True)

    def tensors(self) -> dict[str, Tensor]:
        """The network's weights by name; none where it isn't a torch one."""
        return dict(self._model.state_dict()) if isinstance(self._model, torch.nn.Module) else {}

    def _signals(self, texts: Sequence[str]) -> Tensor:
        reach = CHARACTERS * self.max_tokens
        begun = [_beginning(text, reach) for text in texts] if self._by_words else list(texts)
        rows = self._ids(begun)
        short = [i for i, text in enumerate(texts) if len(rows[i]) < self.max_tokens and len(begun[i]) < len(text)]
        for i, row in zip(short, self._ids([texts[i] for i in short]), strict=True):
            rows[i] = row
        longest = max(map(len, rows), default=0)
        return filled(rows, min(longest, self.max_tokens), self.tokenizer.pad_token_id)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
            return ids
        # As the tokenizer would, which also lists masks and offsets: half of its time. Written to only where needed,
        # for then other threads can't read it.
        if backend.truncation is not None:
            backend.no_truncation()
        if backend.padding is not None:
            backend.no_padding()
        return [found.ids for found in backend.encode_batch_fast(texts, add_special_tokens=False)]

    def _embed(self, signals: Tensor) -> Tensor:
        pad = self.tokenizer.pad_token_id
        lengths = (signals != pad).sum(1)
        order = lengths.argsort(descending=True, stable=True)
        size = 16384 if signals.is_cuda else 64
        first, last = len(self._before), len(self._after)
        parts = []
        for rows in order.split(size):
            longest, count = int(lengths[rows[0]]), lengths[rows, None]
            ids = torch.full((len(rows), first + longest + last), pad, device=signals.device)
            ids[:, :first] = self._before
            ids[:, first : first + longest] = signals[rows, :longest]
            place = first + count + torch.arange(last, device=ids.device)
            ids.scatter_(1, place, self._after.expand(len(rows), -1))
            mask = (torch.arange(ids.shape[1], device=ids.device) < first + count + last).long()
            parts.append(self._model(ids, mask))
        result = torch.cat(parts)
        return torch.empty_like(result).index_copy_(0, order, result)


def _by_words(tokenizer: Any) -> bool:
    """Whether a tokenizer first splits a text at spaces, so that its beginning, up to a space, has the same tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.pre_tokenizer is None:
        return False
    text = backend.normalizer.normalize_str("a b") if backend.normalizer is not None else "a b"
    return len(backend.pre_tokenizer.pre_tokenize_str(text)) == 2


def _beginning(text: str, reach: int) -> str:
    """A text up to the last word before a space within `reach` characters; the whole text if no longer or without."""
    begun = re.match(r".*\S(?= )", text[:reach], re.DOTALL) if len(text) > reach else None
    return text if begun is None else begun[0]


def _affixes(tokenizer: Any, prompt: str, name: str) -> tuple[list[int], list[int]]:
    """The ids that stand before and after those of every text: special tokens, and the prompt."""
    word = tokenizer("word", add_special_tokens=False)["input_ids"]
    whole = tokenizer("word")["input_ids"]
    start = next((i for i in range(len(whole)) if whole[i : i + len(word)] == word), None)
    if start is None:
        raise InputError(f"{name}: its tokenizer changes a text's tokens when it adds the special ones")
    before, after = whole[:start], whole[start + len(word) :]
    if prompt:
        before = before + tokenizer(prompt.rstrip(), add_special_tokens=False)["input_ids"]
        if tokenizer(prompt + "word")["input_ids"] != before + word + after:
            raise InputError(f"{name}: its tokenizer joins the prompt {prompt!r} to the text; leave the prompt out")
    return before, after
