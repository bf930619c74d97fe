"""Aiming a trained inverter at another embedder."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from unembed.checkpoints.manifest import read_manifest
from unembed.contract.codec import SequenceCodec
from unembed.errors import InputError, brief
from unembed.inversion.inverter import Inverter
from unembed.sources.passages import read_passages
from unembed_text.embedders.base import TextEmbedder
from unembed_text.embedders.given import text_embedder
from unembed_text.methods.adapted.checkpoint import UnaskedEmbedder, open_base, save_adapted
from unembed_text.methods.adapted.fitting import fit_map
from unembed_text.methods.adapted.pairs import Progress, chosen_texts, embedded, leaked_pairs
from unembed_text.methods.adapted.proposers import Aim
from unembed_text.methods.adapted.tuning import tuned

__all__ = ["adapt"]

AGREES = 0.99  # cosine of a stored vector and what the embedder answers to its text, if they are of one model
LOOKS = 4  # stored texts that an embedder is asked about, to see whether the vectors are its own


def adapt(
    out: Path,
    inverter: Inverter,
    *,
    base: str,
    embedder: Any,
    data: str | Path | Sequence[str] | None,
    pairs_from: str | Path | None,
    pairs: int,
    column: str | None,
    max_tokens: Sequence[int],
    name: str,
    max_cost: float | None,
    seed: int,
    tune: float | None,
    folder: Path | None,
    on_progress: Progress | None,
) -> Inverter:
    """Write and build what aims `inverter`, that of the checkpoint `folder`, at `embedder`: see `unembed.adapt`."""
    if (data is None) == (pairs_from is None):
        raise InputError("give either texts to embed (data) or a source of vectors with their texts (pairs_from)")
    if embedder is None and pairs_from is None:
        raise InputError("name the embedder to ask; only vectors that have their texts beside them do without one")
    device = inverter.embedder.device
    asked = None if embedder is None else text_embedder(embedder, device)
    if asked is not None and asked.meter is not None:
        asked.meter.max_cost = max_cost
    if pairs_from is not None:
        texts, source = leaked_pairs(pairs_from, pairs=pairs, column=column)
        passages = texts
        source = source.to(device)
        if asked is not None:
            _check_own(asked, texts, source, pairs_from)
        box: TextEmbedder = asked or UnaskedEmbedder(f"vectors of {pairs_from}", source.shape[1], device)
    else:
        assert data is not None and asked is not None
        passages = read_passages(Path(data), column=column) if isinstance(data, str | Path) else list(data)
        texts = chosen_texts(passages, inverter, pairs=pairs, lengths=max_tokens, seed=seed)
        source = embedded(texts, asked.embed_texts, f"asking {asked.name}", on_progress)
        box = asked
    target = embedded(texts, inverter.embed, f"embedding with {inverter.embedder.name}", on_progress)
    fit = fit_map(source, target.to(source.device), seed=seed)
    training = {"pairs": fit.pairs, **asdict(fit.choice), "max_tokens": list(max_tokens), "seed": seed}
    weights: Path | None = None
    if tune is not None:
        if folder is None:
            raise InputError(f"inverter {base!r} has no checkpoint to go on training from")
        if on_progress is not None:
            on_progress(f"training for {tune:g} minutes", 0, 1)
        work = out.with_name(f"{out.name}.tuning")
        lengths = _lengths(inverter, passages)
        weights = tuned(work, folder, fit.errors, passages, lengths, minutes=tune, device=device, seed=seed)
        training["tuned"] = read_manifest(weights).training
        inverter = open_base(str(weights), device)
    return save_adapted(
        out,
        inverter,
        Aim(fit.map, inverter.embedder.embed),
        box,
        name=name,
        base_name=base,
        training=training,
        quality={"map": asdict(fit.quality)},
        tuned=weights,
    )


def _lengths(inverter: Inverter, texts: Sequence[str]) -> list[int]:
    codec = inverter.codec
    if not isinstance(codec, SequenceCodec):
        raise InputError(f"inverter {inverter.name!r} has no tokens to train on")
    return codec.lengths(texts)


def _check_own(asked: TextEmbedder, texts: Sequence[str], source: Tensor, place: str | Path) -> None:
    """Raise InputError where the embedder isn't the model that made the vectors of a source."""
    found = asked.embed_texts(texts[:LOOKS])
    if found.shape[1] != source.shape[1]:
        raise InputError(f"vectors of {place} are {source.shape[1]} wide, those of {asked.name} {found.shape[1]}")
    cosines = F.cosine_similarity(found, source[: len(found)], dim=-1)
    if cosines.min() < AGREES:
        row = int(cosines.argmin())
        raise InputError(
            f"{place}: the vector of {brief(texts[row])!r} isn't what {asked.name} answers to it (cosine "
            f"{float(cosines[row]):.3f}); name the model that made the vectors, prompt included, or none"
        )
