"""Embedders are told apart; rounding isn't mistaken for another embedder."""

import torch

from unembed.checkpoints.fingerprint import fingerprint, same
from unembed.checkpoints.manifest import Fingerprint
from unembed.contract.embedder import Embedder
from unembed.testing.toy import ToyCodec, ToyEmbedder


def test_fingerprint_survives_json_and_small_noise() -> None:
    a = fingerprint(ToyEmbedder(), ToyCodec())
    noisy = ToyEmbedder()
    noisy.table += 1e-4
    assert same(a, Fingerprint.model_validate_json(fingerprint(noisy, ToyCodec()).model_dump_json()))


def test_fingerprint_of_another_embedder_differs() -> None:
    other = ToyEmbedder()
    other.table = other.table.flip(0)
    a, b = fingerprint(ToyEmbedder(), ToyCodec()), fingerprint(other, ToyCodec())
    assert not same(a, b) and a.hash != b.hash
    assert not same(a, a.model_copy(update={"dimension": 3}))


class Sparse(Embedder):
    """Zero but for one place a letter, as a set of hashed features is."""

    def __init__(self, shift: int) -> None:
        super().__init__(name="sparse", modality="toy", dimension=500, normalized=False)
        self.shift = shift

    def _embed(self, signals: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(signals * 40 + self.shift, 500).sum(1)


def test_fingerprint_tells_sparse_embedders_apart() -> None:
    a, b = fingerprint(Sparse(100), ToyCodec()), fingerprint(Sparse(101), ToyCodec())
    assert a.values == b.values
    assert not same(a, b)


def test_a_fingerprint_without_sums_is_still_read() -> None:
    a = fingerprint(ToyEmbedder(), ToyCodec())
    old = a.model_copy(update={"sums": None})
    assert same(old, a) and not same(old.model_copy(update={"values": [[1.0] * 16] * 3}), a)


class Long(Embedder):
    """Features that are not normalised, ten to twenty times as long as unit vectors, and rounded."""

    def __init__(self, seed: int, rounding: float = 0.0) -> None:
        super().__init__(name="long", modality="toy", dimension=500, normalized=False)
        draw = torch.Generator().manual_seed(seed)
        self.table = torch.randn(64, 500, generator=draw)
        self.table += rounding * self.table.norm(dim=1, keepdim=True) * torch.randn(64, 500, generator=draw) / 500**0.5

    def _embed(self, signals: torch.Tensor) -> torch.Tensor:
        return self.table[signals].mean(1)


def test_what_may_differ_grows_with_an_embeddings_length() -> None:
    known, rounded, other = (fingerprint(box, ToyCodec()) for box in (Long(0), Long(0, 3e-3), Long(1)))
    assert min(known.lengths) > 5 and known.sums != rounded.sums
    assert same(known, rounded) and not same(known, other)
    old = known.model_copy(update={"lengths": None})
    assert same(old, rounded) and not same(old, other)
    strict = rounded.model_copy(update={"lengths": None})
    assert not same(old, strict)  # what was refused before lengths were known
