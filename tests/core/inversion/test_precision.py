"""What the digits of vectors say about their rounding."""

import pytest
import torch
from torch.nn import functional as F

from unembed.errors import InputError
from unembed.inversion.precision import estimate_precision, given_precision


def vectors(n: int = 40, width: int = 384) -> torch.Tensor:
    return F.normalize(torch.randn(n, width, generator=torch.Generator().manual_seed(7)), dim=1)


def per_vector(x: torch.Tensor, levels: int = 127) -> torch.Tensor:
    scale = x.abs().amax(1, keepdim=True) / levels
    return (x / scale).round() * scale


def one_range(x: torch.Tensor, bits: int) -> torch.Tensor:
    low, step = x.min(), (x.max() - x.min()) / (2**bits - 1)
    return ((x - low) / step).round() * step + low


ROUNDINGS = {
    "float16": lambda x: x.half().float(),
    "bfloat16": lambda x: x.bfloat16().float(),
    "int8": per_vector,
    "int8 of one range": lambda x: one_range(x, 8),
    "int8 scaled back to length 1": lambda x: F.normalize(per_vector(x), dim=1),
    "int8 codes": lambda x: (x / (x.abs().amax(1, keepdim=True) / 127)).round(),
    "int4": lambda x: one_range(x, 4),
    "4 decimals": lambda x: (x * 1e4).round() / 1e4,
    "3 decimals": lambda x: (x * 1e3).round() / 1e3,
    "2 decimals": lambda x: (x * 1e2).round() / 1e2,
    "sign": torch.sign,
}


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_rounding_is_named_and_its_loss_foretold(rounding) -> None:
    exact = vectors()
    given = ROUNDINGS[rounding](exact)
    found = estimate_precision(given)
    assert set(found.names) == {rounding.split(" of ")[0].split(" scaled")[0].split(" codes")[0]}
    loss = 1 - F.cosine_similarity(exact.double(), given.double())
    assert loss.mean() == pytest.approx(float(found.loss.mean()), rel=0.1)
    assert (loss <= found.most + 1e-7).all()


@pytest.mark.parametrize("change", [lambda x: x, lambda x: 37.5 * x, lambda x: x - 0.25, F.relu])
def test_vectors_as_computed_are_float32(change) -> None:
    found = estimate_precision(change(vectors()))
    assert set(found.names) == {"float32"} and found.summary is None
    assert not found.loss.any() and not found.most.any()


def test_each_vector_has_a_precision_of_its_own() -> None:
    mixed = torch.cat([vectors(2), per_vector(vectors(3))])
    found = estimate_precision(mixed)
    assert found.names == ("float32",) * 2 + ("int8",) * 3
    assert found.summary == "int8 (3)"
    assert found[2:].summary == "int8"


def test_small_and_constant_vectors_are_taken_as_they_are() -> None:
    assert set(estimate_precision(torch.tensor([[0.5, 0.25, 0.125]])).names) == {"float32"}
    assert set(estimate_precision(torch.ones(1, 384)).names) == {"float32"}


def test_noise_that_is_given_is_allowed_for() -> None:
    exact, generator = vectors(), torch.Generator().manual_seed(1)
    noisy = exact + 0.01 * torch.randn(exact.shape, generator=generator)
    found = given_precision("noise:0.01", noisy)
    loss = 1 - F.cosine_similarity(exact, noisy)
    assert loss.mean() == pytest.approx(float(found.loss.mean()), rel=0.1)
    assert (loss <= found.most).float().mean() > 0.99


@pytest.mark.parametrize("name", ["float16", "bfloat16", "int8", "int4", "3 decimals", "sign"])
def test_a_precision_can_be_given(name) -> None:
    given = ROUNDINGS[name](vectors())
    assert given_precision(name, given).loss.mean() == pytest.approx(
        float(estimate_precision(given).loss.mean()), rel=0.35
    )


@pytest.mark.parametrize("name", ["int7", "noise", "noise:-1", "noise:nan", "x decimals", ""])
def test_an_unknown_precision_lists_the_known_ones(name) -> None:
    with pytest.raises(InputError, match=r"noise"):
        given_precision(name, vectors())


def test_what_rounding_takes_is_given_back_and_no_more() -> None:
    given = per_vector(vectors())
    found = estimate_precision(given)
    similarity = F.cosine_similarity(vectors(), given)
    assert (found.corrected(similarity) >= 1 - 1e-6).all()
    wrong = torch.full_like(similarity, 0.99)
    assert torch.allclose(found.corrected(wrong), wrong, atol=1e-4)
    assert (found.corrected(torch.ones_like(similarity)) == 1).all()


def test_the_noise_of_vectors_of_length_one_is_known_where_all_are_alike() -> None:
    exact = vectors(6)
    assert given_precision("noise:0.02", 2 * exact).noise(384) == pytest.approx(0.01, rel=1e-4)
    rough = (exact * 100).round() / 100
    assert estimate_precision(rough).noise(384) == pytest.approx(0.01 * 12**-0.5, rel=0.05)
    assert estimate_precision(exact).noise(384) is None
    assert estimate_precision(torch.cat([exact[:1], rough[:1]])).noise(384) is None


def test_only_rounding_that_hides_no_other_input_is_arrival() -> None:
    exact = vectors()
    fine, noisy = estimate_precision(per_vector(exact)), given_precision("noise:0.01", exact)
    assert torch.equal(fine.slack, fine.most) and (fine.slack > 0).all()
    assert not noisy.slack.any() and (noisy.most > 0.01).all()
    near = torch.full((len(exact),), 0.98)
    assert torch.equal(noisy.assured(near), near) and (noisy.corrected(near) > 0.999).all()
    almost = 1 - fine.loss
    assert torch.equal(fine.assured(almost), fine.corrected(almost))
