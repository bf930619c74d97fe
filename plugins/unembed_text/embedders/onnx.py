"""ONNX graphs as black boxes."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.errors import InputError, MissingExtraError
from unembed_text.embedders.local import LocalEmbedder
from unembed_text.embedders.pooling import Pooling, pool
from unembed_text.sources.foreign_tokenizers import first_line, read_tokenizer, token_limit

__all__ = ["OnnxEmbedder"]


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
            longest=max_tokens or token_limit(tokenizer, None),
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
            raise InputError(f"{path} isn't a graph that onnxruntime can read: {first_line(error)}") from error
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
