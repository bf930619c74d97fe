"""Images to signals and back."""

import pytest
import torch
from PIL import Image

from unembed_image.codec import ImageCodec, levels


def test_a_signal_survives_its_image() -> None:
    codec = ImageCodec(16)
    signals = levels(torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2)
    images = codec.decode(signals)
    assert images[0].size == (16, 16) and images[0].mode == "RGB"
    assert torch.equal(codec.encode(images), signals)


def test_channels_come_first() -> None:
    (signal,) = ImageCodec(4).encode([Image.new("RGB", (9, 9), (255, 51, 0))])
    assert signal.shape == (3, 4, 4) and signal[:, 0, 0].tolist() == [1.0, torch.tensor(51 / 255).item(), 0.0]


def test_levels_are_those_of_a_byte() -> None:
    assert levels(torch.tensor([-1.0, 0.5, 2.0])).tolist() == [0.0, torch.tensor(128 / 255).item(), 1.0]


@pytest.mark.gpu
def test_levels_are_the_same_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    every = torch.arange(256) / 255
    assert torch.equal(levels(every.to("cuda")).cpu(), every)
