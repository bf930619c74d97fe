"""The surrogate of the black box: what it predicts, that it learns, and which edits it chooses."""

import pytest
import torch
from torch.nn import functional as F

from unembed_text.decoder.decoder import Special
from unembed_text.methods.closed import surrogate as screening
from unembed_text.methods.closed.edits import edits
from unembed_text.methods.closed.network import InversionNetwork
from unembed_text.methods.closed.surrogate import screened_edits

T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "vocab_size": 60,
    "feed_forward_proj": "gated-gelu",
}


@pytest.fixture
def network() -> InversionNetwork:
    torch.manual_seed(0)
    special = Special(pad=0, start=1, end=2)
    return InversionNetwork(T5, dimension=12, positions=3, hidden=16, special=special, surrogate=1).eval()


def black_box(ids: torch.Tensor) -> torch.Tensor:
    """Words have directions of their own, and count less the later they come."""
    words = torch.randn(60, 12, generator=torch.Generator().manual_seed(3))
    words[0] = 0
    return F.normalize((words[ids] * 0.9 ** torch.arange(ids.shape[1])[:, None]).sum(1), dim=-1)


def texts(count: int, length: int, seed: int) -> torch.Tensor:
    return torch.randint(3, 60, (count, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_predictions_are_unit_vectors_whatever_the_padding(network) -> None:
    ids = texts(4, 6, 0)
    ids[1, 2:] = 0
    found = network.predict(ids)
    assert found.shape == (4, 12)
    assert torch.allclose(found.norm(dim=-1), torch.ones(4))
    assert torch.allclose(found, network.predict(F.pad(ids, (0, 3))), atol=1e-5)


def test_surrogate_learns_and_leaves_the_token_embeddings_alone(network) -> None:
    ids, optimizer = texts(64, 6, 1), torch.optim.Adam(network.surrogate.parameters(), 3e-3)
    target, losses = black_box(ids), []
    for _ in range(60):
        loss = (1 - F.cosine_similarity(network.predict(ids), target)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert network.decoder.token_embed.weight.grad is None


def test_the_loss_is_the_network_s_and_the_surrogate_s(network) -> None:
    signals, hypothesis = texts(5, 6, 2), texts(5, 6, 3)
    target, embedding = black_box(signals), black_box(hypothesis)
    both = network(target, signals, hypothesis, embedding)
    network.surrogate, surrogate = None, network.surrogate
    alone = network(target, signals, hypothesis, embedding)
    network.surrogate = surrogate
    off = (1 - F.cosine_similarity(network.predict(hypothesis), embedding)).mean()
    assert torch.allclose(both, alone + off, atol=1e-5)
    assert torch.allclose(network.surrogate_losses[-1], off, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("levels", [1, 2])
def test_a_surrogate_that_is_right_but_for_a_shift_finds_the_nearest_edits(network, monkeypatch, levels) -> None:
    monkeypatch.setattr(screening, "LEVELS", levels)
    monkeypatch.setattr(network, "predict", lambda ids: black_box(ids) + 0.3)
    signals, hypothesis = texts(3, 6, 4), texts(3, 6, 5)
    hypothesis[0, 4:] = 0
    target, embedding = black_box(signals), black_box(hypothesis)
    states, mask = network.encode(target, hypothesis, embedding)
    found = screened_edits(network, target, hypothesis, embedding, states, mask, count=10, choices=8)
    assert found.shape == (3, 10, 6 + levels)
    reached = F.cosine_similarity(black_box(found.flatten(0, 1)).unflatten(0, (3, 10)), target[:, None], dim=-1)
    assert (reached.diff(dim=1) < 1e-5).all()
    first = edits(network.decoder, states, mask, hypothesis, count=256, choices=8)
    best = F.cosine_similarity(black_box(first.flatten(0, 1)).unflatten(0, (3, 256)), target[:, None], dim=-1).amax(1)
    assert (reached[:, 0] >= best - 1e-5).all()
    assert levels == 1 or (reached[:, 0] > best + 1e-3).any()
