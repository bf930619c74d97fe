"""The measures by hand, and what is best."""

import math

import numpy as np
import pytest
import torch

from unembed.contract.embedder import Embedder
from unembed_image.codec import ImageCodec
from unembed_image.embedders.base import same_classes
from unembed_image.metrics import Agreement, Divergence, Look, Pixels, Psnr, Retrieval, Ssim

PIXELS = Pixels(ImageCodec(16))
GREYS = [np.full((16, 16, 3), level, np.uint8) for level in (0, 51, 102, 255)]


class Brightness(Embedder):
    """The mean brightness, as a vector on the unit circle and as three classes: dark, middling, bright."""

    def __init__(self, classes: bool) -> None:
        super().__init__(name="brightness", modality="image", dimension=3 if classes else 2, normalized=False)
        self.classes = classes

    def _embed(self, signals):
        level = signals.mean((1, 2, 3))
        if self.classes:
            return -(level[:, None] - torch.tensor([0.0, 0.5, 1.0])).abs()
        return torch.stack([level.cos(), level.sin()], 1)


def value(metric, references, reconstructions) -> float:
    return metric.aggregate(metric.statistics(references, reconstructions).sum(0))


def test_psnr_by_hand() -> None:
    assert value(Psnr(PIXELS), GREYS[:1], GREYS[1:2]) == pytest.approx(20 * math.log10(5), abs=1e-4)
    assert value(Psnr(PIXELS), GREYS, GREYS) == pytest.approx(58.92, abs=0.01)


def test_ssim_by_hand() -> None:
    """Of two flat images only the luminance term is left: (2ab + c) / (a² + b² + c)."""
    wanted = (2 * 0.2 * 0.4 + 1e-4) / (0.2**2 + 0.4**2 + 1e-4)
    assert value(Ssim(PIXELS), GREYS[1:2], GREYS[2:3]) == pytest.approx(wanted, abs=1e-4)
    assert value(Ssim(PIXELS), GREYS, GREYS) == pytest.approx(1)


def test_agreement_by_hand() -> None:
    judge = Look(PIXELS, lambda: Brightness(classes=True))
    pairs = ([GREYS[0], GREYS[0], GREYS[3]], [GREYS[1], GREYS[2], GREYS[0]])  # agree, next best, last
    assert value(Agreement(judge, 1), *pairs) == pytest.approx(1 / 3)
    assert value(Agreement(judge, 2), *pairs) == pytest.approx(2 / 3)


def test_retrieval_by_hand() -> None:
    metric = Retrieval(Look(PIXELS, lambda: Brightness(classes=False)), 1)
    assert value(metric, GREYS, GREYS) == 1
    assert value(metric, GREYS, [GREYS[0], GREYS[0], GREYS[2], GREYS[2]]) == 0.5
    assert value(metric, [GREYS[0]] * 2, [GREYS[0]] * 2) == 0  # equally near to both


def test_retrieval_among_the_nearest_by_hand() -> None:
    look = Look(PIXELS, lambda: Brightness(classes=False))
    metric = Retrieval(look, 2)
    # Two nearest to brightness 0.2 and to 0 are 0 and 0.2; to 0.4 they are 0.4 and 0.2; to white white and 0.4.
    assert value(metric, GREYS, [GREYS[1], GREYS[0], GREYS[3], GREYS[2]]) == 3 / 4
    assert value(Retrieval(look, 10), GREYS[:2], GREYS[1::-1]) == 0  # one of two images is no ten


class Classes(Brightness):
    """The same three classes as probabilities, compared as such."""

    def __init__(self) -> None:
        super().__init__(classes=True)
        self.similarity = same_classes

    def _embed(self, signals):
        return (5 * super()._embed(signals)).softmax(-1)


def test_divergence_by_hand() -> None:
    look = Look(PIXELS, Classes)
    p, q = Classes().embed(PIXELS([GREYS[0], GREYS[3]])).double()
    wanted = (p * (p / q).log()).sum().item()
    assert value(Divergence(look), GREYS[:1], GREYS[3:]) == pytest.approx(wanted, rel=1e-6)
    assert value(Divergence(look), GREYS, GREYS) == 0


def test_retrieval_ranks_probabilities_by_divergence() -> None:
    pairs = (GREYS, [GREYS[1], GREYS[1], GREYS[3], GREYS[2]])
    look = Look(PIXELS, Classes)
    a, b = look(pairs[0]), look(pairs[1])
    for top in (1, 2):
        near = torch.stack([same_classes(row.expand_as(a), a) for row in b])
        wanted = ((near >= near.diagonal()[:, None]).sum(1) <= top).double().mean().item()
        assert value(Retrieval(look, top), *pairs) == wanted


def test_a_look_is_loaded_late_and_asked_once() -> None:
    """Originals are asked about once for all the reconstructions that are compared with them."""
    made = []

    def load():
        made.append(Brightness(classes=False))
        return made[-1]

    look = Look(PIXELS, load)
    assert not made
    for others in ([GREYS[0]] * 4, [GREYS[1]] * 4):
        for top in (1, 2):
            value(Retrieval(look, top), GREYS, others)
    assert len(made) == 1 and made[0].queries == 12
