"""The suite passes on what keeps its promises, and each broken promise fails the check that is about it."""

from collections.abc import Callable

import pytest
import torch

from unembed.inverter import Inverter
from unembed.testing import check_inverter, inverter_checks
from unembed.testing.checks import CHECKS
from unembed.testing.toy import toy_inverter, words

WORDS = sorted(set(words(8, seed=9)))


@inverter_checks(toy_inverter, WORDS)
def test_the_toy_conforms(check: Callable[[], None]) -> None:
    check()


class Broken:
    """Wraps one underscored method of one part of the toy."""

    def __init__(self, part: str, method: str, change: Callable) -> None:
        self.part, self.method, self.change = part, method, change

    def __call__(self) -> Inverter:
        inverter = toy_inverter()
        part = getattr(inverter, self.part)
        inner = getattr(part, self.method)
        setattr(part, self.method, lambda *args: self.change(inner, *args))
        return inverter


def scaled(inner, signals):
    return inner(signals) * 2


def noisy(inner, signals):
    return torch.nn.functional.normalize(inner(signals) + torch.randn(len(signals), 24), dim=1)


def of_the_batch(inner, signals):
    return torch.nn.functional.normalize(inner(signals) + len(signals), dim=1)


def meddling(inner, signals):
    signals[:, 0] = 1
    return inner(signals)


def forgetful(inner, signals):
    return inner(signals * 0)


def ragged(inner, objects):
    signals = inner(objects)
    return signals[:, : max(1, int((signals > 0).sum(1).max()))]


def random_guess(inner, target, count, generator):
    return torch.randint(1, 9, (len(target), count, 8))


def floating(inner, target, count, generator):
    return inner(target, count, generator).float()


def random_correction(inner, target, hypothesis, embedding, count, generator):
    return torch.randint(1, 9, (len(target), count, 8))


def overwriting(inner, target, hypothesis, embedding, count, generator):
    embedding.zero_()
    return inner(target, hypothesis, embedding, count, generator)


def backwards(inner, signals):
    return [word[::-1] for word in inner(signals)]


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (Broken("embedder", "_embed", scaled), "embedder_is_normalized_if_it_says_so"),
        (Broken("embedder", "_embed", noisy), "embedder_repeats_itself"),
        (Broken("embedder", "_embed", of_the_batch), "embedder_treats_a_row_alone_as_in_a_batch"),
        (Broken("embedder", "_embed", meddling), "embedder_leaves_its_input_alone"),
        (Broken("embedder", "_embed", forgetful), "codec_has_probes_that_tell_apart"),
        (Broken("codec", "_encode", ragged), "codec_gives_rows_of_one_shape"),
        (Broken("codec", "_decode", backwards), "codec_keeps_what_it_decoded"),
        (Broken("hypothesizer", "_hypothesize", random_guess), "hypothesizer_repeats_itself_under_a_seed"),
        (Broken("hypothesizer", "_hypothesize", floating), "hypothesizer_returns_count_signals_a_target"),
        (Broken("corrector", "_correct", random_correction), "corrector_repeats_itself_under_a_seed"),
        (Broken("corrector", "_correct", overwriting), "corrector_leaves_its_input_alone"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.change.__name__,
)
def test_a_broken_promise_fails_its_check(make, check) -> None:
    run = {made.__name__: made for made in CHECKS}[check]
    run(toy_inverter(), WORDS)
    with pytest.raises(AssertionError):
        run(make(), WORDS)


def test_check_inverter_names_the_check_that_fails() -> None:
    with pytest.raises(AssertionError, match=r"^embedder_is_normalized_if_it_says_so: the norms"):
        check_inverter(Broken("embedder", "_embed", scaled)(), WORDS)


def test_check_inverter_excuses_a_known_failure() -> None:
    known = {"embedder_is_normalized_if_it_says_so": "scaled on purpose"}
    check_inverter(Broken("embedder", "_embed", scaled)(), WORDS, known_failures=known)


def test_a_known_failure_that_passes_is_an_error() -> None:
    with pytest.raises(AssertionError, match="passes now"):
        check_inverter(toy_inverter(), WORDS, known_failures={"embedder_repeats_itself": "wrong"})


def test_an_unknown_known_failure_is_an_error() -> None:
    with pytest.raises(ValueError, match="no check is called nonsense"):
        check_inverter(toy_inverter(), WORDS, known_failures={"nonsense": ""})
