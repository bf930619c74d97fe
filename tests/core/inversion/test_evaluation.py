"""Evaluating the toy agrees with counting by hand."""

import pytest
import torch

from unembed.contract.metric import Metric
from unembed.errors import InputError
from unembed.inversion.evaluation import evaluate, evaluate_steps
from unembed.testing.toy import toy_inverter, words


def test_evaluate_agrees_with_counting() -> None:
    inverter = toy_inverter()
    signals = inverter.codec.first(words(60, seed=6), 4)
    found = evaluate(inverter, signals, steps=3, beam=2)
    pairs = list(zip(found.references, found.reconstructions, strict=True))
    assert found.references == [word[:4] for word in words(60, seed=6) if len(word) >= 4]
    assert found.metrics["exact_match"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    agree = [sum(x == y for x, y in zip(a.ljust(8), b.ljust(8), strict=True)) / 8 for a, b in pairs]
    assert found.metrics["letter_accuracy"] == pytest.approx(sum(agree) / len(agree))
    again = inverter.invert(inverter.embedder.embed(signals), steps=3, beam=2)
    assert found.metrics["similarity"] == pytest.approx(again.similarity.mean().item())
    assert found.metrics["queries_per_item"] == pytest.approx(again.queries.double().mean().item())


def test_evaluate_takes_objects_as_well_as_signals() -> None:
    inverter = toy_inverter()
    given, encoded = words(9, seed=3), inverter.codec.encode(words(9, seed=3))
    a, b = (evaluate(inverter, inputs, effort="low", steps=2) for inputs in (given, encoded))
    assert a.metrics == b.metrics and a.references == given


def test_evaluate_takes_the_path_of_a_file_of_objects(tmp_path) -> None:
    inverter, given = toy_inverter(), words(9, seed=3)
    (tmp_path / "words.txt").write_text("\n".join(given))
    whole = evaluate(inverter, given, effort="low", steps=2)
    for path in (tmp_path / "words.txt", str(tmp_path / "words.txt")):
        assert evaluate(inverter, path, effort="low", steps=2).metrics == whole.metrics
    for text in ("cafe", "x" * 5000, "a\0b"):
        with pytest.raises(InputError, match="takes the path of a file of inputs, or a list of inputs") as caught:
            evaluate(inverter, text)
        assert len(str(caught.value)) < 250


def test_a_single_query_is_counted_once() -> None:
    inverter = toy_inverter()
    inverter.hypothesizer._hypothesize = lambda target, count, generator: torch.tensor([1, 0, 2, 0, 0, 0, 0, 0]).expand(
        len(target), count, 8
    )
    for found in evaluate_steps(inverter, words(3), (0, 1), effort=inverter.settings(max_queries=1)):
        assert found.metrics["queries_per_item"] == 1 and found.reconstructions == ["ab"] * 3


def test_evaluate_summary_is_flat_with_an_interval_for_each_metric() -> None:
    inverter = toy_inverter()
    summary = evaluate(inverter, inverter.codec.encode(words(20)), steps=0, beam=2).summary()
    assert summary.keys() == {
        "n", "letter_accuracy", "exact_match", "similarity", "queries_per_item", "seconds", "ci"
    }  # fmt: skip
    assert summary["n"] == 20
    for name, (low, high) in summary["ci"].items():
        assert low <= summary[name] <= high


def test_evaluate_on_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate(toy_inverter(), torch.zeros(0, 8, dtype=torch.long))


def test_several_numbers_of_steps_are_those_of_searches_of_so_many() -> None:
    inverter = toy_inverter()
    signals = inverter.codec.encode(words(40, seed=2))
    effort = inverter.settings(beam=2)
    several = (0, 1, 3, 30)  # the last is past the end of the search
    for steps, found in zip(several, evaluate_steps(inverter, signals, several, effort=effort), strict=True):
        alone = evaluate(inverter, signals, steps=steps, beam=2)
        assert found.metrics == alone.metrics and found.ci == alone.ci
        assert found.reconstructions == alone.reconstructions and found.n == 40


def test_parts_of_the_signals_are_evaluated_as_one() -> None:
    inverter = toy_inverter()
    signals = inverter.codec.encode(words(40, seed=2))
    effort = inverter.settings(beam=2)
    (whole,), (parts,) = (evaluate_steps(inverter, signals, (2,), effort=effort, at_once=size) for size in (None, 7))
    assert parts.references == whole.references and parts.n == 40 and len(parts.similarity) == 40
    again = inverter.embed(parts.reconstructions)
    assert torch.allclose(inverter.embedder.similarity(inverter.embedder.embed(signals), again), parts.similarity)


def test_no_numbers_of_steps_are_refused() -> None:
    inverter = toy_inverter()
    with pytest.raises(InputError, match="numbers of steps"):
        evaluate_steps(inverter, inverter.codec.encode(words(2)), ())


class Lacking(Metric):
    def statistics(self, references, reconstructions):
        raise InputError("the judge isn't installed")

    def aggregate(self, sums):
        return 0.0


def test_what_a_measure_lacks_is_said_before_the_search() -> None:
    inverter = toy_inverter()
    inverter.metrics["lacking"] = Lacking()
    signals = inverter.codec.encode(words(4, seed=1))
    with pytest.raises(InputError, match="judge"):
        evaluate(inverter, signals, on_step=lambda step: pytest.fail("a search began"))
