"""The suite passes on what keeps its promises, and says what was broken, where the rule is and what waits for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from unembed.inversion.inverter import Inverter
from unembed.testing import check_inverter, check_plugin, inverter_checks, training_checks
from unembed.testing.checks import INVERTER, PLUGIN, TRAINING
from unembed.testing.toy import ToyEmbedder, toy_inverter, words

WORDS = sorted(set(words(8, seed=9)))
CONFIG = Path(__file__).with_name("toy.toml")


@inverter_checks(toy_inverter, WORDS)
def test_the_toy_conforms(check: Callable[[], None]) -> None:
    check()


@inverter_checks(toy_inverter)
def test_the_probes_do_for_objects(check: Callable[[], None]) -> None:
    check()


@training_checks(CONFIG)
def test_the_toys_recipe_conforms(check: Callable[[], None], toy_plugin) -> None:
    check()


def scaled() -> Inverter:
    inverter = toy_inverter()
    inverter.embedder._embed = lambda signals: ToyEmbedder._embed(inverter.embedder, signals) * 2
    return inverter


def test_check_inverter_names_the_check_the_fault_and_the_rule() -> None:
    told = (
        r"^embedder_is_normalized_if_it_says_so: the norms .* differ by 1\. The rule: .* have norm 1\. \(docs/contract"
    )
    with pytest.raises(AssertionError, match=told):
        check_inverter(scaled(), WORDS)


def test_check_inverter_excuses_a_known_failure() -> None:
    check_inverter(scaled(), WORDS, known_failures={"embedder_is_normalized_if_it_says_so": "scaled on purpose"})


def test_a_known_failure_that_passes_is_an_error() -> None:
    with pytest.raises(AssertionError, match="passes now"):
        check_inverter(toy_inverter(), WORDS, known_failures={"embedder_repeats_itself": "wrong"})


def test_an_unknown_known_failure_is_an_error() -> None:
    with pytest.raises(ValueError, match="no check is called nonsense"):
        check_inverter(toy_inverter(), WORDS, known_failures={"nonsense": ""})


def test_check_plugin_looks_at_all_that_it_offers(toy_plugin) -> None:
    found = check_plugin("toy", config=CONFIG)
    assert list(found) == ["plugin toy", "inverter toy", f"training {CONFIG}", f"inverter of {CONFIG}, untrained"]
    failed = {outcome.check for outcomes in found.values() for outcome in outcomes if outcome.status == "failed"}
    assert failed == {"plugin_loads_nothing_heavy"}  # the toy is one file, torch and all


@pytest.mark.parametrize("check", [*INVERTER, *PLUGIN, *TRAINING], ids=lambda check: check.name)
def test_a_rule_is_a_sentence_and_needs_earlier_ones(check) -> None:
    assert check.rule.endswith(".") and len(check.rule) > 20
    family = next(
        names for names in ([c.name for c in group] for group in (INVERTER, PLUGIN, TRAINING)) if check.name in names
    )
    assert all(family.index(needed) < family.index(check.name) for needed in check.needs)
