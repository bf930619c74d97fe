"""The denoiser and the surrogate: which spaces they work in, that a row stands alone."""

import pytest
import torch
from torch.nn import functional as F

from unembed_image.networks.network import ImageNetwork

DRAW = torch.Generator().manual_seed(1)
TARGET, SIGNALS = torch.rand(3, 8, generator=DRAW), torch.rand(3, 3, 16, 16, generator=DRAW)
TIME = torch.tensor([0.1, 0.5, 0.9])


def network(**changes) -> ImageNetwork:
    torch.manual_seed(0)
    sizes = {"dimension": 8, "size": 16, "width": 64, "depth": 1, "channels": 4, "space": "plain"}
    return ImageNetwork(**{**sizes, **changes})


def test_log_space_sees_small_probabilities() -> None:
    rows = torch.tensor([[0.98, 0.01, 0.01 - 1e-6, 1e-6], [0.98, 0.01, 0.01, 0.0]])
    plain, log = (network(dimension=4, space=space).normalize(rows) for space in ("plain", "log"))
    assert (plain[0] - plain[1]).abs().max() < 1e-4 < 0.1 < (log[0] - log[1]).abs().max()


@pytest.mark.parametrize("space", ["plain", "log"])
def test_embeddings_that_it_met_have_mean_0_and_spread_1(space) -> None:
    made, rows = network(space=space), torch.rand(500, 8, generator=DRAW).cumsum(1)
    rows[:, 7] = 0  # a value that never changes
    made.fit_normalizer(rows / rows.sum(1, keepdim=True))
    found = made.normalize(rows / rows.sum(1, keepdim=True))
    assert found.mean(0).abs().max() < 1e-4 and torch.allclose(
        found[:, :7].std(0, correction=0), torch.ones(7), rtol=0.1
    )
    assert found.isfinite().all()


@pytest.mark.parametrize("size", [16, 24, 32, 64])
def test_images_of_any_size_are_denoised_and_predicted(size) -> None:
    made, noise = network(size=size), torch.randn(3, 3, size, size, generator=DRAW)
    assert made.denoiser(noise, TIME, TARGET).shape == noise.shape
    assert made.predict(noise.sigmoid()).shape == (3, 8)


def test_a_row_is_denoised_and_predicted_alone_as_in_a_batch() -> None:
    made = network().eval()
    whole, alone = made.denoiser(SIGNALS, TIME, TARGET)[1:2], made.denoiser(SIGNALS[1:2], TIME[1:2], TARGET[1:2])
    assert torch.allclose(whole, alone, atol=1e-5)
    assert torch.allclose(made.predict(SIGNALS)[1:2], made.predict(SIGNALS[1:2]), atol=1e-5)


def test_a_denoised_image_depends_on_every_input() -> None:
    made = network()
    first = made.denoiser(SIGNALS, TIME, TARGET)
    for other in ((SIGNALS.flip(0), TIME, TARGET), (SIGNALS, TIME.flip(0), TARGET), (SIGNALS, TIME, TARGET.flip(0))):
        assert (made.denoiser(*other) - first).abs()[0].max() > 1e-4


@pytest.mark.parametrize("space", ["plain", "log"])
def test_an_error_added_makes_the_surrogate_right(space) -> None:
    made = network(space=space)
    said, reached = made.predict(SIGNALS), TARGET / TARGET.sum(1, keepdim=True)
    assert made.loss(said, reached).min() > 1e-3
    assert made.loss(said + made.residual(said, reached), reached).abs().max() < 1e-5


def test_answers_are_unit_vectors_or_log_probabilities() -> None:
    plain, log = (network(space=space).predict(SIGNALS) for space in ("plain", "log"))
    assert torch.allclose(plain, F.normalize(plain, dim=-1)) and torch.allclose(log.exp().sum(1), torch.ones(3))


def test_misses_by_hand() -> None:
    said, wanted = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.9, 0.1]])
    kl = 0.9 * torch.log(torch.tensor(1.8)) + 0.1 * torch.log(torch.tensor(0.2))
    assert network(space="log").loss(said, wanted).item() == pytest.approx(kl.item(), rel=1e-5)
    said = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    found = network().loss(said, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert found.tolist() == pytest.approx([0, 1])


def test_a_surrogate_learns_what_the_black_box_says() -> None:
    made, wanted = network(dimension=3, space="log"), torch.eye(3)
    optimizer = torch.optim.Adam(made.surrogate.parameters(), 1e-3)
    losses = []
    for _ in range(40):
        loss = made.loss(made.predict(SIGNALS), wanted).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
