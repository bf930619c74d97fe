"""The painter and the student: which spaces they work in, that a row stands alone."""

import pytest
import torch

from unembed_image.network import ImageNetwork

DRAW = torch.Generator().manual_seed(1)
TARGET, SIGNALS = torch.rand(3, 8, generator=DRAW), torch.rand(3, 3, 16, 16, generator=DRAW)


def network(**changes) -> ImageNetwork:
    torch.manual_seed(0)
    return ImageNetwork(**{"dimension": 8, "size": 16, "width": 4, "depth": 1, "space": "plain", **changes})


def test_scaled_in_log_space_sees_small_probabilities() -> None:
    rows = torch.tensor([[0.98, 0.01, 0.01 - 1e-6, 1e-6], [0.98, 0.01, 0.01, 0.0]])
    plain, log = (network(dimension=4, space=space).scaled(rows) for space in ("plain", "log"))
    assert torch.allclose(log.pow(2).mean(1), torch.ones(2)) and torch.allclose(plain.pow(2).mean(1), torch.ones(2))
    assert (plain[0] - plain[1]).abs().max() < 1e-4 < 0.1 < (log[0] - log[1]).abs().max()


@pytest.mark.parametrize("size", [16, 20, 32, 64])
def test_images_of_any_size_are_painted_and_seen(size) -> None:
    made = network(size=size)
    images = made(TARGET)
    assert images.shape == (3, 3, size, size) and images.min() > 0 and images.max() < 1
    assert made.student(images).shape == (3, 8)


def test_a_row_is_painted_and_seen_alone_as_in_a_batch() -> None:
    made = network().eval()
    assert torch.allclose(made(TARGET)[1:2], made(TARGET[1:2]), atol=1e-5)
    assert torch.allclose(made.student(SIGNALS)[1:2], made.student(SIGNALS[1:2]), atol=1e-4)


@pytest.mark.parametrize("space", ["plain", "log"])
def test_an_error_added_makes_the_student_right(space) -> None:
    made = network(space=space)
    said, reached = made.student(SIGNALS), TARGET / TARGET.sum(1, keepdim=True)
    place = made.place(said)
    assert made.miss(place, reached).min() > 1e-3
    assert made.miss(place + made.error(reached, said), reached).abs().max() < 1e-5


def test_misses_by_hand() -> None:
    said, wanted = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.9, 0.1]])
    kl = 0.9 * torch.log(torch.tensor(1.8)) + 0.1 * torch.log(torch.tensor(0.2))
    assert network(space="log").miss(said, wanted).item() == pytest.approx(kl.item(), rel=1e-5)
    said = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    found = network().miss(said, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert found.tolist() == pytest.approx([0, 1])


def test_a_student_learns_what_the_black_box_says() -> None:
    made, wanted = network(dimension=3, space="log"), torch.eye(3)
    optimizer = torch.optim.Adam(made.student.parameters(), 1e-3)
    losses = []
    for _ in range(20):
        loss = made.miss(made.student(SIGNALS), wanted).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
