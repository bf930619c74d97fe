"""What the image tests share: synthetic photographs, small random models on disk, a trained toy inverter."""

import json
import os
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from filelock import FileLock
from PIL import Image

from unembed_image.embedders import models
from unembed_image.embedders.base import Backbone

CLIP = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}
LOOK = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": 32, "mode": "RGB", "interpolation": "bicubic"}


def pictures(count: int, *, seed: int = 0, size: int = 48) -> list[np.ndarray]:
    """Discs and bars of random colours, places and sizes on shaded grounds, uint8 `[size, size, 3]`."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j][..., None]
    found = []
    for number in range(count):
        ground, shade, colour = draw.random((3, 3))
        picture = ground + (shade - ground) * y
        cx, cy, reach = *draw.uniform(0.25, 0.75, 2), draw.uniform(0.12, 0.35)
        inside = (x - cx) ** 2 + (y - cy) ** 2 < reach**2 if number % 2 else abs(x - cx) < reach / 2
        found.append((np.where(inside, colour, picture) * 255).round().astype(np.uint8))
    return found


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A folder of 96 PNG files."""
    folder = tmp_path_factory.mktemp("photos")
    for number, picture in enumerate(pictures(96)):
        Image.fromarray(picture).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    """A random CLIP, as open_clip saves one; its gains are raised, so that embeddings differ as trained ones do."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": LOOK}))
    torch.manual_seed(0)
    model = open_clip.CLIP(**CLIP)
    with torch.no_grad():
        model.visual.conv1.weight.mul_(8)
        model.visual.class_embedding.mul_(0.1)
        for block in model.visual.transformer.resblocks:
            for weight in (block.attn.in_proj_weight, block.attn.out_proj.weight, block.mlp.c_proj.weight):
                weight.mul_(6)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder


class SmallClassifier(torch.nn.Module):
    """A random one of 16 classes, with the layer that EfficientNet's features are heard at."""

    def __init__(self) -> None:
        super().__init__()
        self._conv = torch.nn.Conv2d(3, 32, 8, stride=4)
        self._avg_pooling = torch.nn.AdaptiveAvgPool2d(1)
        self._fc = torch.nn.Linear(32, 16)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._fc(4 * self._avg_pooling(self._conv(pixels).relu()).flatten(1))


@pytest.fixture
def small_classifier():
    """EfficientNet-Lite0 becomes a random network that takes no time."""
    torch.manual_seed(5)  # tells the codec's probes apart
    made = Backbone(SmallClassifier().eval(), 32, (0.5,) * 3, (0.25,) * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "_lite0", lambda: made)
        yield


@pytest.fixture(scope="session")
def trained(photos, clip_folder, tmp_path_factory) -> Path:
    """The checkpoint that a training of half a minute on the 96 photographs leaves; one for all processes of a run."""
    from unembed.training import train

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "trained-images"
    with FileLock(shared / "trained-images.lock"):
        if not folder.exists():
            train(
                Path(__file__).with_name("toy.toml"),
                overrides=[
                    f"output={folder}",
                    f"recipe.embedder=clip:{clip_folder}",
                    f'recipe.train=["{photos}"]',
                    f'recipe.validation=["{photos}"]',
                ],
            )
    return folder / "checkpoint"
