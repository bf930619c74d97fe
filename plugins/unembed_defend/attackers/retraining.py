"""The attacker who goes on training the inverter's network on what the best of the other attacks leaves unsaid."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from unembed import Inverter, SequenceCodec
from unembed.errors import InputError
from unembed.registry.opening import load
from unembed_defend.attackers.seen import NEAR, Attack, Refused, Seen, unit
from unembed_text.methods.adapted.fitting import direction_errors
from unembed_text.methods.adapted.tuning import tuned

__all__ = ["errors_left", "retrained"]

HELD_OUT, MOST = 0.2, 2000  # of the other texts, to measure errors on


def errors_left(seen: Seen, attack: Attack) -> Tensor | Refused:
    """What an attack is off by on texts that it wasn't fitted to, at right angles to their unit vectors: `[M, D]`."""
    few = min(MOST, max(1, round(HELD_OUT * len(seen.public))))
    part = replace(
        seen, stored=seen.public_stored[:few], public=seen.public[few:], public_stored=seen.public_stored[few:]
    )
    found = attack(part)
    if isinstance(found, Refused):
        return found
    true = unit(seen.public[:few])
    if float((unit(found.vectors) * true).sum(1).mean()) >= NEAR:
        return Refused("nothing is left to learn: the vectors come back as they were")
    return direction_errors(lambda vectors: unit(vectors), found.vectors, true)


def retrained(
    folder: Path,
    base: Path,
    inverter: Inverter,
    errors: Tensor,
    texts: Sequence[str],
    *,
    minutes: float,
    seed: int,
) -> Inverter:
    """Train the network of the checkpoint `base` for so many minutes on targets with these errors, and open it.

    The run is kept in `folder`; one that ended there is opened again.
    """
    codec, device = inverter.codec, torch.device(inverter.embedder.device)
    if not isinstance(codec, SequenceCodec):
        raise InputError(f"inverter {inverter.name!r} has no tokens to train on")
    made = folder / "run" / "checkpoint"
    if not (made / "manifest.json").is_file():
        made = tuned(folder, base, errors, texts, codec.lengths(texts), minutes=minutes, device=device, seed=seed)
    return load(str(made), device=device)
