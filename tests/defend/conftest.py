"""Vectors as an embedder's are: most of their variance in few directions, and not about zero."""

import pytest
import torch
from torch.nn import functional as F

from unembed_defend.attackers.seen import Seen
from unembed_defend.defences.opening import open_defence


def vectors(count: int, width: int = 384, *, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    shape = torch.Generator().manual_seed(99)
    basis = torch.linalg.qr(torch.randn(width, width, generator=shape))[0]
    spread = 1 / (1 + torch.arange(width) / (width / 8))
    middle = 0.3 * torch.randn(width, generator=shape) / width**0.5
    return F.normalize(torch.randn(count, width, generator=draw) * spread @ basis / spread.norm() + middle, dim=1)


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(F.cosine_similarity(one.double(), other.double(), dim=1).mean())


@pytest.fixture
def seen():
    """`seen("gaussian:0.01", others=…)`: what its attackers see, and the clean vectors that they are after."""

    def made(name: str, *, width: int = 384, count: int = 64, others: int = 800) -> tuple[Seen, torch.Tensor]:
        clean, public = vectors(count, width, seed=1), vectors(others, width, seed=2)
        defence = open_defence(name)
        defence.fit(public, 5)
        return Seen(defence, defence.apply(clean, 6), public, defence.apply(public, 7)), clean

    return made
