"""What is needed before any defence: the texts, other texts for the attackers, and the vectors of all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unembed import Inverter, SequenceCodec, open_source
from unembed.errors import InputError, brief
from unembed.inversion.keeping import digest
from unembed.sources.passages import read_passages
from unembed_defend.use.reading import Retrieval, SentencePairs

__all__ = ["Material", "Progress", "UseData", "chosen", "prepared", "read_texts", "use_data"]

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much
SLICE = 4096  # texts that are cut at once
EMBED = 128  # texts embedded together
TOO_FEW = 20  # other texts, below which hardly an attack can be run


@dataclass(frozen=True)
class Material:
    """`texts` to recover with their vectors `clean` `[N, D]`, and `others` with theirs, `public` `[P, D]`."""

    texts: list[str]
    clean: Tensor
    others: list[str]
    public: Tensor


@dataclass(frozen=True)
class UseData:
    """What use is measured on, embedded: documents and queries, and both sides of pairs of sentences."""

    retrieval: Retrieval | None = None
    documents: Tensor | None = None
    queries: Tensor | None = None
    pairs: SentencePairs | None = None
    first: Tensor | None = None
    second: Tensor | None = None


def read_texts(place: str, column: str | None = None) -> list[str]:
    """The passages of a .txt or .parquet file, or the texts that lie beside the vectors of a store."""
    path = Path(place)
    if path.is_file() and path.suffix in (".txt", ".parquet"):
        return read_passages(path, column=column)
    source = open_source(place)
    texts = [text for batch in source.batches() for text in batch.texts or () if text and text.strip()]
    if not texts:
        raise InputError(f"{brief(place)} holds no texts beside its vectors; give a file of texts like those in it")
    return texts


def chosen(
    inverter: Inverter, texts: Sequence[str], *, samples: int, others: int, max_tokens: int | None
) -> tuple[list[str], list[str], str]:
    """The first `samples` different texts and up to `others` further ones, all cut to `max_tokens`, if given.

    Shorter texts are then left out; the third is a line on how many, empty where none was. Texts are spelt as the
    inverter's embedder sees them.
    """
    codec, wanted, looked, short = inverter.codec, samples + others, 0, 0
    found: dict[str, None] = {}
    for start in range(0, len(texts), SLICE):
        given = texts[start : start + SLICE]
        part = list(dict.fromkeys(given))
        looked += len(given)
        if max_tokens is not None:
            if not isinstance(codec, SequenceCodec):
                raise InputError(f"--max-tokens is for sequences; inverter {inverter.name!r} inverts something else")
            lengths = dict(zip(part, codec.lengths(part), strict=True))
            short += sum(lengths[text] < max_tokens for text in given)
            part = [text for text, long in lengths.items() if long >= max_tokens]
            if not part:
                continue
            signals = codec.first(part, max_tokens)
        else:
            signals = codec.encode(part)
        found.update(dict.fromkeys(codec.decode(signals)))
        if len(found) >= wanted:
            break
    kept = list(found)[:wanted]
    if not kept:
        raise InputError(f"no text has {max_tokens} tokens" if max_tokens else "there are no texts")
    if not isinstance(kept[0], str):
        raise InputError(f"defences are tried on texts; inverter {inverter.name!r} writes something else")
    are = "is" if short == 1 else "are"
    left_out = f"{short} of {looked} texts {are} shorter than {max_tokens} tokens and left out" if short else ""
    return kept[:samples], kept[samples:], left_out


def prepared(
    inverter: Inverter,
    texts: list[str],
    others: list[str],
    folder: Path,
    on_progress: Progress | None = None,
) -> Material:
    """Both sets of texts with their vectors."""
    vectors = embedded(inverter, [*texts, *others], folder, "embedding texts", on_progress)
    return Material(texts, vectors[: len(texts)], others, vectors[len(texts) :])


def use_data(
    inverter: Inverter,
    retrieval: Retrieval | None,
    pairs: SentencePairs | None,
    folder: Path,
    on_progress: Progress | None = None,
) -> UseData:
    """What use is measured on, embedded; vectors are kept in `folder`, since a corpus takes minutes on a CPU."""

    def embed(texts: Sequence[str], what: str) -> Tensor:
        return embedded(inverter, texts, folder, what, on_progress)

    documents = queries = first = second = None
    if retrieval is not None:
        queries = embed(list(retrieval.queries.values()), "embedding queries")
        documents = embed(list(retrieval.documents.values()), "embedding documents")
    if pairs is not None:
        first, second = embed([*pairs.first, *pairs.second], "embedding sentence pairs").tensor_split(2)
    return UseData(retrieval, documents, queries, pairs, first, second)


def embedded(
    inverter: Inverter, texts: Sequence[str], folder: Path, what: str, on_progress: Progress | None = None
) -> Tensor:
    """The vectors `[N, D]` of texts, some at a time, the longest first; kept in `folder` part by part."""
    name = f"{what.replace(' ', '-')}-{digest(inverter.embedder.name, *texts)}"
    kept = folder / f"{name}.safetensors"
    if kept.is_file():
        return load_file(kept)["vectors"].to(inverter.embedder.device)
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    parts: list[Tensor] = []
    for start in range(0, len(order), EMBED):
        parts.append(inverter.embed([texts[place] for place in order[start : start + EMBED]]).cpu())
        if on_progress is not None:
            on_progress(what, min(start + EMBED, len(order)), len(order))
    vectors = torch.empty(len(texts), parts[0].shape[1])
    vectors[torch.tensor(order)] = torch.cat(parts)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    save_file({"vectors": vectors}, kept.with_suffix(".new"))
    kept.with_suffix(".new").chmod(0o600)
    kept.with_suffix(".new").replace(kept)
    return vectors.to(inverter.embedder.device)
