"""The tensors of earlier checkpoints under today's names."""

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = ["migrate_names"]

WHOLE = {"centre": "mean", "spread": "std"}
NETWORKS = {"painter": "denoiser", "student": "surrogate"}
PARTS = {
    "read": "target_embed",
    "clock": "time_embed",
    "hold": "context_proj",
    "tell": "modulation",
    "enter": "conv_in",
    "leave": "conv_out",
    "merge": "patchify",
    "split": "unpatchify",
    "places": "pos_embed",
    "thin": "skip_proj",
    "inner": "layers",
    "look": "stem",
    "say": "head",
    "first": "conv1",
    "second": "conv2",
    "table": "scale_shift_table",
    "ask": "qkv_proj",
    "answer": "out_proj",
    "widen": "fc1",
    "narrow": "fc2",
}
OLD = re.compile(r"(painter|student)\.(.+)")


def migrate_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint of any age under today's names; those that have them keep them."""
    migrated = {}
    for name, tensor in tensors.items():
        if old := OLD.fullmatch(name):
            parts = (PARTS.get(part, part) for part in old[2].split("."))
            migrated[".".join((NETWORKS[old[1]], *parts))] = tensor
        else:
            migrated[WHOLE.get(name, name)] = tensor
    return migrated
