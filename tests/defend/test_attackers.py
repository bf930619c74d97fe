"""What each attacker makes of which defence, on vectors alone."""

import math

import pytest
import torch

from unembed_defend.attackers.attempts import CLEAN, attacks_on, made_by
from unembed_defend.attackers.denoising import denoising, estimate_noise, told
from unembed_defend.attackers.maps import assigned, best_back, linear_back, procrustes
from unembed_defend.attackers.pairs import KnownPairs, pair_counts
from unembed_defend.attackers.retraining import errors_left
from unembed_defend.attackers.seen import Attempt, Refused, noise_of, same_vectors
from unembed_defend.attackers.unaware import unaware

from .conftest import cosine, vectors

WIDTH = 96  # what takes long at 384 and says the same


@pytest.mark.parametrize("pairs", [10, 20])
def test_a_permutation_falls_to_so_few_pairs(seen, pairs) -> None:
    given, clean = seen("permutation")
    found = KnownPairs(pairs)(given)
    assert "assignment" in found.how and found.precision == "float32"
    assert cosine(found.vectors, clean) > 0.999 > cosine(given.stored, clean)


def test_a_rotation_falls_to_as_many_pairs_as_it_is_wide_and_not_to_few(seen) -> None:
    given, clean = seen("rotation", width=WIDTH)
    found = KnownPairs(WIDTH)(given)
    assert "Procrustes" in found.how
    assert cosine(found.vectors, clean) > 0.999
    assert cosine(KnownPairs(10)(given).vectors, clean) < 0.9


def test_encryption_that_keeps_distances_falls_to_what_its_bounded_noise_leaves(seen) -> None:
    given, clean = seen("dcpe:1")
    found = KnownPairs(20)(given)
    assert "assignment" in found.how
    assert cosine(found.vectors, clean) == pytest.approx(1 / math.sqrt(1 + 1 / 16), abs=0.005)
    assert float(found.precision.removeprefix("noise:")) == pytest.approx(0.25 / math.sqrt(384), rel=0.1)


def test_a_secret_projection_is_mapped_back_by_pairs(seen) -> None:
    given, clean = seen("randproj:48", width=WIDTH, others=300)
    assert isinstance(unaware(given), Refused) and isinstance(denoising(given), Refused)
    found = KnownPairs(200)(given)
    best = cosine(linear_back(given.public_stored, given.public)(given.stored), clean)
    assert cosine(found.vectors, clean) > best - 0.03 > 0.7


def test_fewer_other_texts_than_pairs_is_not_a_defence(seen) -> None:
    given, _ = seen("rotation", width=WIDTH, others=30)
    found = KnownPairs(96)(given)
    assert isinstance(found, Refused) and found.applies and "there are 30" in found.why
    assert isinstance(told(given), Refused) and told(given).applies


@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.05])
def test_noise_is_estimated_from_what_is_stored(seen, sigma) -> None:
    given, _ = seen(f"gaussian:{sigma}", others=2000)
    found = estimate_noise(given.stored, given.public)
    assert found.sigma == pytest.approx(sigma, rel=0.1) and found.gain == pytest.approx(1, abs=0.1)
    longer = estimate_noise(5 * given.stored, given.public)
    assert longer.sigma / longer.gain == pytest.approx(found.sigma / found.gain, rel=0.02)


def test_clean_vectors_have_no_noise() -> None:
    found = estimate_noise(vectors(64, seed=1), vectors(2000, seed=2))
    assert found.sigma < 0.002 and found.share > 0.9


@pytest.mark.parametrize("name", ["gaussian:0.04", "laplace:0.04", "vmf:300"])
def test_noise_is_filtered_out_as_far_as_it_can_be(seen, name) -> None:
    given, clean = seen(name, width=WIDTH, others=2000)
    found = denoising(given)
    assert cosine(found.vectors, clean) > cosine(given.stored, clean) + 0.005
    left = float(found.precision.removeprefix("noise:"))
    assert left == pytest.approx(noise_of(cosine(found.vectors, clean), WIDTH), rel=0.15)
    assert told(given).vectors is given.stored and told(given).precision.startswith("noise:0.0")


def test_a_filter_is_as_good_as_the_posterior_mean(seen) -> None:
    """By hand: C (C + σ²)⁻¹ (y − μ) + μ with the true noise."""
    given, clean = seen("gaussian:0.03", width=WIDTH, others=3000)
    mean = given.public.mean(0)
    covariance = torch.cov((given.public - mean).T)
    wiener = torch.linalg.solve(covariance + 0.03**2 * torch.eye(WIDTH), covariance)
    best = cosine((given.stored - mean) @ wiener + mean, clean)
    assert cosine(denoising(given).vectors, clean) == pytest.approx(best, abs=0.003)


def test_signs_are_filtered_by_what_their_digits_tell(seen) -> None:
    given, clean = seen("binary", width=WIDTH, others=2000)
    assert cosine(denoising(given).vectors, clean) > cosine(given.stored, clean) + 0.01


def test_rounding_is_read_from_digits(seen) -> None:
    given, _ = seen("int8")
    found = told(given)
    assert found.precision is None and "int8" in found.how
    assert unaware(given).precision == "float32"


@pytest.mark.parametrize("name", ["rotation", "permutation"])
def test_what_was_moved_in_secret_is_not_taken_for_noise(seen, name) -> None:
    given, _ = seen(name, others=2000)
    found = denoising(given)
    assert isinstance(found, Refused) and not found.applies and "moved" in found.why


@pytest.mark.parametrize("name", ["truncate:48", "pca:48"])
def test_public_maps_to_fewer_values_are_filled_in(seen, name) -> None:
    given, clean = seen(name, width=WIDTH, others=2000)
    found = denoising(given)
    assert isinstance(unaware(given), Refused) and isinstance(told(given), Refused)
    assert cosine(found.vectors, clean) > cosine(given.defence.undo(given.stored), clean) - 0.001


def test_maps_by_hand() -> None:
    clean = torch.tensor([[1.0, 2.0, 4.0], [0.0, 1.0, -1.0]])
    assert torch.equal(assigned(clean[:, [2, 0, 1]], clean)(clean[:, [2, 0, 1]]), clean)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    both = torch.tensor([[1.0, 0.0], [0.3, 1.0]])
    assert torch.allclose(procrustes(both @ turn, both)(both @ turn), both, atol=1e-6)
    assert best_back(clean.repeat(6, 1), clean.repeat(6, 1)).shape == "none"


def test_noise_of_a_cosine_is_the_noise_that_leaves_it() -> None:
    assert noise_of(1 / math.sqrt(1 + 384 * 0.02**2), 384) == pytest.approx(0.02)
    assert noise_of(1.0, 384) == 0 and noise_of(-1.0, 384) > 0


def test_attackers_are_all_tried_and_idle_searches_left_out(seen) -> None:
    given, clean = seen("permutation", width=WIDTH)
    made = {one.attacker: one for one in made_by(attacks_on(WIDTH, hears=True), given, clean)}
    assert list(made) == ["unaware", "told", "denoising", *(f"{n} pairs" for n in (10, 20, 48, 96, 960))]
    assert pair_counts(384) == (10, 20, 192, 384, 3840)
    assert made["10 pairs"].same == made["96 pairs"].same == CLEAN and made["10 pairs"].behind is None
    assert isinstance(made["960 pairs"].attempt, Refused) and made["960 pairs"].attempt.applies
    assert made["unaware"].same is None and made["unaware"].cosine < 0.5

    given, clean = seen("rotation", width=WIDTH, others=960)
    made = {one.attacker: one for one in made_by(attacks_on(WIDTH, hears=True), given, clean)}
    assert made["20 pairs"].behind == made["48 pairs"].behind == "96 pairs" and made["96 pairs"].same == CLEAN


def test_vectors_of_zeros_are_refused(seen) -> None:
    given, clean = seen("gaussian:0.01", width=WIDTH)
    made = made_by({"zeros": lambda _: Attempt(torch.zeros(64, WIDTH), None, "")}, given, clean)
    assert isinstance(made[0].attempt, Refused) and "zero" in made[0].attempt.why


def test_equal_vectors_are_told_from_others() -> None:
    clean = vectors(5)
    assert (
        same_vectors(clean, 3 * clean) and not same_vectors(clean, clean + 1e-3) and not same_vectors(clean, clean[:2])
    )


def test_retraining_learns_what_an_attack_leaves(seen) -> None:
    given, _ = seen("gaussian:0.02", width=WIDTH, others=500)
    errors = errors_left(given, denoising)
    assert errors.shape == (100, WIDTH)
    along = (errors * torch.nn.functional.normalize(given.public[:100], dim=1)).sum(1)
    assert float(along.abs().max()) < 1e-4  # at right angles to the true vectors
    given, _ = seen("permutation", width=WIDTH, others=500)
    assert isinstance(errors_left(given, KnownPairs(20)), Refused)


def test_an_inverter_that_never_learned_to_be_told_is_not_searched_with_as_if_it_had(seen) -> None:
    given, clean = seen("gaussian:0.04", width=WIDTH, others=2000)
    deaf = {one.attacker: one.attempt for one in made_by(attacks_on(WIDTH, hears=False), given, clean)}
    assert isinstance(deaf["told"], Refused) and deaf["told"].applies and "unaware" in deaf["told"].why
    hears = {one.attacker: one.attempt for one in made_by(attacks_on(WIDTH, hears=True), given, clean)}
    assert isinstance(hears["told"], Attempt) and hears["told"].precision.startswith("noise:0.0")
    clean_given, _ = seen("drop-text", width=WIDTH, others=2000)
    nothing = made_by(attacks_on(WIDTH, hears=False), clean_given, clean)[1]
    assert nothing.attacker == "told" and isinstance(nothing.attempt, Attempt)
