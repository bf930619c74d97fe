"""Dropout by a hash of the place; weights as inference stores them."""

import pytest
import torch

from unembed_text.decoder.layers import drop, relu_linear


def seed(value: int) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.int32)


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("value", [0, 7, -(2**31), 2**31 - 1])
def test_drop_keeps_its_share_everywhere_and_the_mean(rate, value) -> None:
    x = torch.ones(200, 40, 64)
    out = drop(x, rate, seed(value))
    kept = (out != 0).float()
    assert torch.allclose(out[out != 0], torch.tensor(1 / (1 - rate)))
    spread = (rate * (1 - rate)) ** 0.5
    for over in ((0, 1, 2), (1, 2), (0, 1), (0, 2)):
        share = kept.mean(over)
        count = kept.numel() / share.numel()
        assert (share - (1 - rate)).abs().max() < 5 * spread / count**0.5
    assert drop(x, rate, None) is x


def test_drop_is_independent_between_neighbours_and_seeds() -> None:
    x = torch.ones(200, 40, 64)
    kept = (drop(x, 0.3, seed(1)) != 0).float()
    others = [kept.roll(1, axis) for axis in range(3)] + [(drop(x, 0.3, seed(s)) != 0).float() for s in (2, 3, -1)]
    for other in others:
        assert torch.corrcoef(torch.stack([kept.flatten(), other.flatten()]))[0, 1].abs() < 0.01


def test_drop_passes_gradients_where_it_passes_numbers() -> None:
    x = torch.randn(4, 5, 8, requires_grad=True)
    out = drop(x, 0.25, seed(3))
    out.sum().backward()
    assert torch.allclose(x.grad * x, out)


@pytest.fixture
def trainable():
    from unembed_text.decoder.decoder import Special
    from unembed_text.methods.closed.network import InversionNetwork

    t5 = {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "vocab_size": 60,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.2,
        "is_encoder_decoder": True,
    }
    network = InversionNetwork(t5, dimension=12, positions=3, hidden=16, special=Special(pad=0, start=1, end=2))
    ids = torch.randint(3, 60, (5, 7))
    return network, {"target": torch.randn(5, 12), "signals": ids, "hypothesis": ids, "embedding": torch.randn(5, 12)}


def test_training_drops_anew_each_time_and_evaluation_never(trainable) -> None:
    network, batch = trainable
    torch.manual_seed(0)
    first, second = (network.train()(**batch) for _ in range(2))
    torch.manual_seed(0)
    assert network(**batch) == first != second
    assert network.eval()(**batch) == network(**batch)


@torch.no_grad()
def test_fused_weights_give_what_apart_ones_do_and_move_with_the_network(trainable) -> None:
    network, batch = trainable
    plain, known = network.eval()(**batch), set(network.state_dict())
    blocks = [*network.encoder.blocks, *network.decoder.blocks]
    for block in blocks:
        block.fuse_qkv()
    assert torch.allclose(network(**batch), plain)
    assert set(network.state_dict()) == known
    network.double()
    for block in blocks:
        own = block.attention
        parts = [part.weight for part in (own.q_proj, own.k_proj, own.v_proj)]
        (whole,) = block.weights().attention.qkv
        assert torch.equal(whole, torch.cat(parts)) and parts[0].dtype == torch.float64


@torch.no_grad()
@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
def test_scales_that_maps_have_taken_over_count_once(trainable, kind) -> None:
    network, batch = trainable
    network = type(network)(
        network.config | {"feed_forward_proj": kind}, dimension=12, positions=3, hidden=16, special=network.special
    ).eval()
    blocks = [*network.encoder.blocks, *network.decoder.blocks]
    for block in blocks:
        for name, weight in block.named_parameters():
            if name.endswith("norm.weight"):
                weight.uniform_(0.5, 2)
    plain = network(**batch)
    for block in blocks:
        block.fold_norms()
        assert all(part.norm is None for part in block.weights())
    assert torch.allclose(network(**batch), plain, rtol=1e-5)


@pytest.mark.gpu
@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 1, 64), (256, 1, 768), (7, 33, 768)])
def test_a_rectified_product_is_what_two_kernels_make(shape) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x, weight = (torch.randn(size, device="cuda").bfloat16() for size in (shape, (96, shape[2])))
    plain = torch.relu(torch.nn.functional.linear(x.float(), weight.float()))
    found = relu_linear(x, weight)
    assert found.shape == plain.shape and (found - plain).norm() < 0.01 * plain.norm()
