"""Encoders without a sentence-transformers wrapping: plain transformers models, and ONNX graphs."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.errors import InputError, MissingExtraError
from unembed_text.decoder.attention import fuses
from unembed_text.embedders.local import LocalEmbedder
from unembed_text.sources.foreign_weights import reach_hub

__all__ = ["OnnxEmbedder", "Pooling", "TransformerEmbedder", "pool"]

Pooling = Literal["mean", "cls", "last", "max", "pooler"]


def pool(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector `[N, D]` a row of states `[N, L, D]` and mask `[N, L]`: mean, first, last or largest.

    "pooler" is an output of some models, not of their states.
    """
    kept = mask[..., None].to(states.dtype)
    if pooling == "mean":
        return (states * kept).sum(1) / kept.sum(1)
    if pooling == "max":
        return states.masked_fill(kept == 0, -torch.inf).amax(1)
    place = mask.sum(1) - 1 if pooling == "last" else torch.zeros_like(mask[:, 0])
    return states[torch.arange(len(states), device=states.device), place]


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
            config = AutoConfig.from_pretrained(source)
            kind = AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
            model = kind.from_pretrained(source, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise InputError(f"can't load the transformers model {source!r}: {_first_line(error)}") from error
        super().__init__(
            _Pooled(model.to(device), pooling, normalize, name).eval(),
            tokenizer,
            name=name,
            longest=max_tokens or _longest(tokenizer, config),
            normalized=normalize,
            prompt=prompt,
            device=device,
        )


class _Pooled(torch.nn.Module):
    def __init__(self, model: torch.nn.Module, pooling: Pooling, normalize: bool, name: str) -> None:
        super().__init__()
        self.model, self.pooling, self.normalize, self.name = model, pooling, normalize, name
        self.known = False  # whether its layers are ours, which are fewer kernels on a GPU
        if model.config.model_type == "t5":
            from unembed_text.decoder.blocks import joined, knows

            self.known = knows(model.config)
            useful = self.known and fuses(model.shared.weight, 1, 1, model.config.d_kv)
            for block in model.encoder.block if useful else ():
                joined(block)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "pooler":
            vectors = self.model(input_ids=ids, attention_mask=mask).get("pooler_output")
            if vectors is None:
                raise InputError(f"{self.name}: the model has no pooler; choose pooling=mean, cls, last or max")
        else:
            vectors = pool(self._states(ids, mask), mask, self.pooling)
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        model, config, length = self.model, self.model.config, ids.shape[1]
        # In float16 a T5 needs the clamps of its own.
        if self.known and model.dtype != torch.float16 and fuses(ids, length, length, config.d_kv):
            from unembed_text.decoder.blocks import encoder_states

            return encoder_states(model.encoder, model.encoder.embed_tokens(ids), mask.bool(), config.num_heads)
        return model(input_ids=ids, attention_mask=mask).last_hidden_state


class OnnxEmbedder(LocalEmbedder):
    """A folder with an ONNX graph (`model.onnx`, there or under `onnx/`) and `tokenizer.json`, run by onnxruntime.

    A graph whose output has a row a token is pooled; one with a row a text (sentence_embedding) is taken as it is.
    """

    def __init__(
        self,
        source: str,
        *,
        name: str,
        device: torch.device | str = "cpu",
        pooling: Literal["mean", "cls", "last", "max"] = "mean",
        normalize: bool = False,
        prompt: str = "",
        max_tokens: int | None = None,
        file: str = "",
    ) -> None:
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise InputError(f"onnx needs a folder with model.onnx and tokenizer.json; {source!r} is none")
        places = [folder / file] if file else [folder / "model.onnx", folder / "onnx" / "model.onnx"]
        graph = next((place for place in places if place.is_file()), None)
        if graph is None:
            raise InputError(f"{folder} has no {file or 'model.onnx'}; name the graph with ?file=…")
        tokenizer = read_tokenizer(str(folder))
        super().__init__(
            _Graph(graph, pooling, normalize),
            tokenizer,
            name=name,
            longest=max_tokens or _longest(tokenizer, None),
            normalized=normalize,
            prompt=prompt,
            device=device,
        )


class _Graph:
    def __init__(self, path: Path, pooling: Pooling, normalize: bool) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("ONNX embedders need an extra: pip install 'unembed[onnx]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=onnxruntime.get_available_providers()
            )
        except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
            raise InputError(f"{path} is no graph that onnxruntime reads: {_first_line(error)}") from error
        self.inputs = {entry.name for entry in self.session.get_inputs()}
        names = [entry.name for entry in self.session.get_outputs()]
        self.output = "sentence_embedding" if "sentence_embedding" in names else names[0]
        self.pooling: Pooling = pooling
        self.normalize = normalize

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        feed = {key: value.cpu().numpy() for key, value in given.items() if key in self.inputs}
        found = torch.from_numpy(self.session.run([self.output], feed)[0]).to(ids.device)
        vectors = pool(found, mask, self.pooling) if found.ndim == 3 else found
        return F.normalize(vectors, dim=-1) if self.normalize else vectors


def read_tokenizer(source: str) -> Any:
    """The tokenizer of a folder or hub id; raises InputError."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("text embedders need an extra: pip install 'unembed[text]'") from error
    reach_hub(source)
    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputError(f"can't load the tokenizer of {source!r}: {_first_line(error)}") from error


def _longest(tokenizer: Any, config: Any) -> int:
    """How many tokens a model reads, as its tokenizer or its config says, else 512."""
    said = [tokenizer.model_max_length, getattr(config, "max_position_embeddings", None)]
    return min((int(value) for value in said if value and value < 10**6), default=512)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
