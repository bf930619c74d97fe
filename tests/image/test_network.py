"""The painter: which spaces it reads, that noise makes candidates."""

import torch

from unembed_image.network import ImageNetwork

DRAW = torch.Generator().manual_seed(1)
TARGET, SIGNALS = torch.rand(3, 8, generator=DRAW), torch.rand(3, 3, 16, 16, generator=DRAW)


def network(**changes) -> ImageNetwork:
    torch.manual_seed(0)
    config = {"dimension": 8, "size": 16, "patch": 8, "width": 16, "layers": 1, "heads": 2, "tokens": 2, "noise": 4}
    return ImageNetwork(**{**config, "space": "plain", **changes})


def test_scaled_in_log_space_sees_small_probabilities() -> None:
    rows = torch.tensor([[0.98, 0.01, 0.01 - 1e-6, 1e-6], [0.98, 0.01, 0.01, 0.0]])
    plain, log = (network(dimension=4, space=space).scaled(rows) for space in ("plain", "log"))
    assert torch.allclose(log.pow(2).mean(1), torch.ones(2)) and torch.allclose(plain.pow(2).mean(1), torch.ones(2))
    assert (plain[0] - plain[1]).abs().max() < 1e-4 < 0.1 < (log[0] - log[1]).abs().max()


def test_first_candidates_need_no_noise_and_others_differ() -> None:
    warmth = torch.tensor([[0.0, 1.0, 1.0]]).expand(3, -1)
    a, b = (network().write(TARGET, None, None, warmth, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert a.shape == (3, 3, 3, 16, 16) and torch.equal(a[:, 0], b[:, 0])
    assert not torch.equal(a[:, 1], b[:, 1]) and not torch.equal(a[:, 1], a[:, 2])
    assert torch.equal(a, (a * 255).round() / 255) and a.min() >= 0 and a.max() <= 1


def test_a_row_is_painted_alone_as_in_a_batch() -> None:
    warmth = torch.zeros(3, 1)
    whole = network().write(TARGET, SIGNALS, TARGET.flip(0), warmth, None)
    rows = [
        network().write(TARGET[i:][:1], SIGNALS[i:][:1], TARGET.flip(0)[i:][:1], warmth[:1], None) for i in range(3)
    ]
    assert (torch.cat(rows) - whole).abs().max() <= 1.01 / 255
