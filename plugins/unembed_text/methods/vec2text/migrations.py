"""Tensor names of vec2text checkpoints, of any age, to ours. Each older form has a migration of its own."""

import re
from collections.abc import Callable

from torch import Tensor

from unembed.errors import CheckpointError
from unembed_text.decoder.convert import migrate_names

__all__ = ["migrated"]

Tensors = dict[str, Tensor]

OURS = (
    (r"encoder_decoder\.", "t5."),
    (r"embedding_transform(_1)?\.0\.", "target.fc1."),
    (r"embedding_transform(_1)?\.3\.", "target.fc2."),
    (r"embedding_transform_2\.0\.", "difference.fc1."),
    (r"embedding_transform_2\.3\.", "difference.fc2."),
    (r"embedding_transform_3\.0\.", "hypothesis.fc1."),
    (r"embedding_transform_3\.3\.", "hypothesis.fc2."),
)


def without_wrappers(tensors: Tensors) -> Tensors:
    """Names under which `DistributedDataParallel` and `torch.compile` save what they wrap."""
    return {re.sub(r"^((module|_orig_mod)\.)+", "", key): value for key, value in tensors.items()}


def projections_without_dropout(tensors: Tensors) -> Tensors:
    """Projections of before there was a dropout in them: their second linear layer is number 2, not 3."""
    return {re.sub(r"^(embedding_transform(_\d)?)\.2\.", r"\1.3.", key): value for key, value in tensors.items()}


def without_unused_bias(tensors: Tensors) -> Tensors:
    """The first T5 checkpoints hold a bias of the attention over the encoder, which no version has used."""
    unused = "EncDecAttention.relative_attention_bias.weight"
    return {key: value for key, value in tensors.items() if not key.endswith(unused)}


def without_aliases(tensors: Tensors) -> Tensors:
    """Pickles repeat a shared tensor under every name that it has."""
    shared = tensors.get("encoder_decoder.shared.weight")
    if shared is None:  # some savers keep the last name only
        alias = next((tensors[key] for key in tensors if re.match(r"encoder_decoder\.\w+\.embed_tokens\.", key)), None)
        shared = tensors.get("encoder_decoder.lm_head.weight") if alias is None else alias
        if shared is not None:
            tensors = {**tensors, "encoder_decoder.shared.weight": shared}
    return {
        key: value
        for key, value in tensors.items()
        if not re.match(r"encoder_decoder\.\w+\.embed_tokens\.", key)
        and not (key == "encoder_decoder.lm_head.weight" and shared is not None and value.equal(shared))
    }


def with_a_zeroed_output(tensors: Tensors) -> Tensors:
    """An output matrix of zeros was never tied to the embedding when it was saved; the embedding stands for it."""
    head = tensors.get("encoder_decoder.lm_head.weight")
    drop = head is not None and not head.any()
    return {key: value for key, value in tensors.items() if not (drop and key == "encoder_decoder.lm_head.weight")}


MIGRATIONS: tuple[Callable[[Tensors], Tensors], ...] = (
    without_wrappers,
    projections_without_dropout,
    without_unused_bias,
    without_aliases,
    with_a_zeroed_output,
)


def migrated(tensors: Tensors) -> tuple[Tensors, Tensors]:
    """The network's tensors under our names, and the embedder's that lie beside them.

    Raises CheckpointError for a name that no migration knows.
    """
    for migration in MIGRATIONS:
        tensors = migration(tensors)
    embedder = {key.removeprefix("embedder."): x for key, x in tensors.items() if key.startswith("embedder.")}
    ours: Tensors = {}
    for key, value in tensors.items():
        if key.startswith("embedder."):
            continue
        name = key
        for pattern, replacement in OURS:
            name = re.sub(f"^{pattern}", replacement, name)
        if name == key and not key.startswith("layernorm."):
            raise CheckpointError(f"the checkpoint holds tensor {key!r}, which no vec2text model is known to have")
        ours[name] = value
    return migrate_names(ours), embedder
