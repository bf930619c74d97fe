"""What the parts are told: the noise of their targets, where it is known and the same for all."""

import pytest
import torch

import unembed
from unembed.errors import InputError
from unembed_text.methods.closed.network import InversionNetwork


@pytest.fixture
def opened(small_checkpoint, monkeypatch):
    """A toy-sized inverter, and the noise that its network is told, call by call."""
    inverter, told = unembed.load(small_checkpoint, device="cpu"), []
    with torch.no_grad():
        inverter.corrector.network.noise.weight.fill_(0.1)  # as if training had made something of it
    encode = InversionNetwork.encode

    def heard(network, target, hypothesis, embedding, noise=None):
        told.append(None if noise is None else noise.tolist())
        return encode(network, target, hypothesis, embedding, noise)

    monkeypatch.setattr(InversionNetwork, "encode", heard)
    return inverter, told


def test_the_network_is_told_the_noise_that_a_user_names(opened) -> None:
    inverter, told = opened
    vectors = inverter.embed(["the cat sat", "who knows"])
    effort = inverter.settings("high", steps=1, beam=2)
    inverter.invert(3 * vectors, effort=effort, precision="noise:0.03")
    # Of vectors three times as long as the network sees them; guesses, corrections and edits are told.
    assert len(told) >= 3 and all(noise == pytest.approx([0.01] * len(noise), rel=1e-3) for noise in told)


def test_exact_vectors_and_those_of_several_precisions_are_told_nothing(opened) -> None:
    inverter, told = opened
    vectors = inverter.embed(["the cat sat", "who knows"])
    inverter.invert(vectors, steps=1, beam=2)
    mixed = vectors.clone()
    mixed[0] = mixed[0].mul(100).round() / 100
    inverter.invert(mixed, steps=1, beam=2)
    assert told and set(told) == {None}
    told.clear()
    inverter.invert(mixed[:1], steps=1, beam=2)
    # The values are rounded to 0.01, evenly spread errors.
    assert told[0] == pytest.approx([0.01 * 12**-0.5 / float(mixed[0].norm())], rel=1e-3)


def test_what_is_told_changes_what_is_written(small_checkpoint) -> None:
    inverter = unembed.load(small_checkpoint, device="cpu")
    vectors = torch.nn.functional.normalize(torch.randn(4, 384, generator=torch.Generator().manual_seed(1)), dim=1)
    plain = inverter.invert(vectors, steps=0)
    named = inverter.invert(vectors, steps=0, precision="noise:0.02")
    assert plain.objects == named.objects and not inverter.told(0.02)  # the weights of the noise are zero at first
    with torch.no_grad():
        inverter.corrector.network.noise.weight.normal_(std=3.0, generator=torch.Generator().manual_seed(2))
    assert inverter.invert(vectors, steps=0).objects == plain.objects
    assert inverter.invert(vectors, steps=0, precision="noise:0.02").objects != plain.objects
    with pytest.raises(InputError, match="noise takes"):
        inverter.invert(vectors, precision="noise:much")


def test_surprisal_is_the_loss_of_each_text_and_hears_the_noise(small_checkpoint) -> None:
    inverter = unembed.load(small_checkpoint, device="cpu")
    network, texts = inverter.corrector.network, ["the cat sat on the mat", "who knows"]
    vectors, signals = inverter.embed(texts), inverter.codec.encode(texts)
    found = inverter.parts["surprisal"](vectors, signals)
    for vector, signal, nats in zip(vectors, signals, found, strict=True):
        own = signal[signal != network.special.pad][None]
        with torch.no_grad():
            states, mask = network.encode(vector[None], None, None)
            loss = network.decoder.loss(states, mask, own)  # a mean over tokens and the end
        assert float(nats) == pytest.approx(float(loss) * (own.shape[1] + 1), rel=1e-3)
    with torch.no_grad():
        network.noise.weight.normal_(std=3.0, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(inverter.parts["surprisal"](vectors, signals), found, rtol=1e-4)
    assert not torch.allclose(inverter.told(0.02)["surprisal"](vectors, signals), found, rtol=1e-3)
