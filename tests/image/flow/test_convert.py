"""Tensors of earlier checkpoints under today's names."""

import json
from pathlib import Path

import pytest
import torch

import unembed_image
from unembed_image.networks.convert import migrate_names
from unembed_image.networks.network import ImageNetwork

WEIGHTS = Path(unembed_image.__file__).parent / "weights"


def test_names_by_hand() -> None:
    before = [
        "centre",
        "spread",
        "painter.clock.0.weight",
        "painter.inner.3.ask.bias",
        "painter.down.1.tell.weight",
        "painter.up.2.skip.weight",
        "student.look.bias",
        "student.stages.0.1.second.weight",
        "student.say.2.weight",
    ]
    after = [
        "mean",
        "std",
        "denoiser.time_embed.0.weight",
        "denoiser.layers.3.qkv_proj.bias",
        "denoiser.down.1.modulation.weight",
        "denoiser.up.2.skip.weight",
        "surrogate.stem.bias",
        "surrogate.stages.0.1.conv2.weight",
        "surrogate.head.2.weight",
    ]
    assert list(migrate_names(dict.fromkeys(before, torch.zeros(1)))) == after
    assert list(migrate_names(dict.fromkeys(after, torch.zeros(1)))) == after


@pytest.mark.parametrize(
    "folder", sorted(p.parent for p in WEIGHTS.glob("*/manifest.json")), ids=lambda folder: folder.name
)
def test_every_tensor_of_a_shipped_checkpoint_has_its_place(folder) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    names = migrate_names({name: torch.empty(0) for name in manifest["tensors"]})
    with torch.device("meta"):
        network = ImageNetwork(**manifest["config"])
    assert names.keys() == network.state_dict().keys()
