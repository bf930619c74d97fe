"""What an inverter promises, as functions of it and of a few objects that it can take."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from unembed.errors import InputError
from unembed.interfaces import SequenceCodec
from unembed.inverter import Inverter

__all__ = ["CHECKS", "Check", "applies"]

Check = Callable[[Inverter, Sequence[Any]], None]


def embedder_returns_one_finite_row_a_signal(inverter: Inverter, objects: Sequence[Any]) -> None:
    vectors = inverter.embed(objects)
    _equal(tuple(vectors.shape), (len(objects), inverter.embedder.dimension), "the shape of the embeddings")
    assert torch.isfinite(vectors).all(), "an embedding isn't finite"


def embedder_counts_its_queries(inverter: Inverter, objects: Sequence[Any]) -> None:
    before = inverter.embedder.queries
    inverter.embed(objects)
    _equal(inverter.embedder.queries - before, len(objects), "the queries counted")


def embedder_repeats_itself(inverter: Inverter, objects: Sequence[Any]) -> None:
    _close(inverter.embed(objects), inverter.embed(objects), "two embeddings of the same objects")


def embedder_treats_a_row_alone_as_in_a_batch(inverter: Inverter, objects: Sequence[Any]) -> None:
    together = inverter.embed(objects)
    alone = torch.cat([inverter.embed([item]) for item in objects])
    _close(together, alone, "a row embedded alone and in a batch")


def embedder_leaves_its_input_alone(inverter: Inverter, objects: Sequence[Any]) -> None:
    signals = inverter.codec.encode(objects)
    before = signals.clone()
    inverter.embedder.embed(signals)
    assert torch.equal(signals, before), "embedding changed the signals that it was given"


def embedder_is_normalized_if_it_says_so(inverter: Inverter, objects: Sequence[Any]) -> None:
    norms = inverter.embed(objects).norm(dim=-1)
    _close(norms, torch.ones_like(norms), "the norms of embeddings declared normalized and 1")


def codec_keeps_what_it_decoded(inverter: Inverter, objects: Sequence[Any]) -> None:
    signals = inverter.codec.encode(objects)
    again = inverter.codec.encode(inverter.codec.decode(signals))
    assert torch.equal(signals, again), "encode(decode(signals)) isn't signals"


def codec_gives_rows_of_one_shape(inverter: Inverter, objects: Sequence[Any]) -> None:
    shapes = {tuple(inverter.codec.encode([item]).shape) for item in objects}
    shapes.add((1, *inverter.codec.encode(objects).shape[1:]))
    assert len(shapes) == 1, f"signals of different objects have different shapes: {sorted(shapes)}"


def codec_refuses_nothing_at_all(inverter: Inverter, objects: Sequence[Any]) -> None:
    _refused(lambda: inverter.codec.encode([]), "encoding an empty list")


def codec_has_probes_that_tell_apart(inverter: Inverter, objects: Sequence[Any]) -> None:
    vectors = inverter.embed(list(inverter.codec.probes))
    assert len({tuple(row) for row in vectors.tolist()}) == len(vectors), "two probes have one embedding"


def codec_cuts_sequences_to_their_first_elements(inverter: Inverter, objects: Sequence[Any]) -> None:
    codec = inverter.codec
    assert isinstance(codec, SequenceCodec)
    lengths = codec.lengths(objects)
    whole = codec.encode(objects)
    for length in sorted(set(lengths)):
        if length <= codec.width:
            cut = codec.first(objects, length)
            _equal(len(cut), sum(other >= length for other in lengths), f"the objects with {length} elements or more")
            rows = [other for other in lengths if other >= length]
            for signal, other, full in zip(cut, rows, whole[[x >= length for x in lengths]], strict=True):
                assert other != length or torch.equal(signal, full), "an object cut to its own length changed"


def hypothesizer_returns_count_signals_a_target(inverter: Inverter, objects: Sequence[Any]) -> None:
    _same_kind(inverter, objects, _guesses(inverter, objects, 3), 3)


def hypothesizer_repeats_itself_under_a_seed(inverter: Inverter, objects: Sequence[Any]) -> None:
    assert torch.equal(_guesses(inverter, objects, 2), _guesses(inverter, objects, 2)), "two guesses differ"


def corrector_returns_count_signals_a_hypothesis(inverter: Inverter, objects: Sequence[Any]) -> None:
    _same_kind(inverter, objects, _corrections(inverter, objects, 3), 3)


def corrector_repeats_itself_under_a_seed(inverter: Inverter, objects: Sequence[Any]) -> None:
    assert torch.equal(_corrections(inverter, objects, 2), _corrections(inverter, objects, 2)), "corrections differ"


def corrector_leaves_its_input_alone(inverter: Inverter, objects: Sequence[Any]) -> None:
    target, hypothesis, embedding = _state(inverter, objects)
    before = [part.clone() for part in (target, hypothesis, embedding)]
    inverter.corrector.correct(target, hypothesis, embedding, 2, _generator(inverter))
    kept = all(torch.equal(a, b) for a, b in zip(before, (target, hypothesis, embedding), strict=True))
    assert kept, "correcting changed what it was given"


def inverter_works_with_no_steps(inverter: Inverter, objects: Sequence[Any]) -> None:
    found = inverter.invert(inverter.embed(objects), steps=0, beam=2)
    _equal(len(found.objects), len(objects), "the objects recovered")
    _equal(found.steps.tolist(), [0] * len(objects), "the steps taken")


def inverter_never_gets_worse_with_more_steps(inverter: Inverter, objects: Sequence[Any]) -> None:
    trace = inverter.invert(inverter.embed(objects), steps=2, beam=2, trace=True).trace
    assert trace is not None
    for before, after in pairwise(trace):
        assert (after.similarity >= before.similarity).all(), "a step lowered a target's best similarity"


def inverter_repeats_itself_under_a_seed(inverter: Inverter, objects: Sequence[Any]) -> None:
    vectors = inverter.embed(objects)
    a, b = (inverter.invert(vectors, steps=1, beam=2, seed=5) for _ in range(2))
    assert torch.equal(a.signals, b.signals), "two inversions under one seed differ"


def inverter_reports_the_similarity_of_what_it_returns(inverter: Inverter, objects: Sequence[Any]) -> None:
    vectors = inverter.embed(objects)
    found = inverter.invert(vectors, steps=1, beam=2)
    measured = inverter.embedder.similarity(vectors, inverter.embed(found.objects))
    _close(found.similarity, measured, "the reported similarity and that of the objects returned")


def inverter_keeps_to_its_budget(inverter: Inverter, objects: Sequence[Any]) -> None:
    found = inverter.invert(inverter.embed(objects), steps=3, beam=2, max_queries=4)
    assert int(found.queries.max()) <= 4, f"{int(found.queries.max())} queries where 4 were allowed"


def inverter_refuses_vectors_that_are_none(inverter: Inverter, objects: Sequence[Any]) -> None:
    good = inverter.embed(objects[:1])
    wide = torch.cat([good, good], 1)
    for vectors, what in (
        (wide, "vectors of the wrong width"),
        (torch.full_like(good, torch.nan), "NaN"),
        (torch.zeros_like(good), "a vector of zeros"),
        (good[:0], "no vectors"),
    ):
        _refused(partial(inverter.invert, vectors, steps=0, beam=1), what)


def metrics_like_perfection_best(inverter: Inverter, objects: Sequence[Any]) -> None:
    references = inverter.codec.decode(inverter.codec.encode(objects))
    for name, metric in inverter.metrics.items():
        perfect = metric.statistics(references, references)
        _equal(len(perfect), len(references), f"the rows of {name}'s statistics")
        shifted = metric.statistics(references, references[1:] + references[:1])
        best, worse = metric.aggregate(perfect.sum(0)), metric.aggregate(shifted.sum(0))
        assert best > worse, f"{name} is {best} for perfect reconstructions and {worse} for others"


CHECKS: tuple[Check, ...] = (
    embedder_returns_one_finite_row_a_signal,
    embedder_counts_its_queries,
    embedder_repeats_itself,
    embedder_treats_a_row_alone_as_in_a_batch,
    embedder_leaves_its_input_alone,
    embedder_is_normalized_if_it_says_so,
    codec_keeps_what_it_decoded,
    codec_gives_rows_of_one_shape,
    codec_refuses_nothing_at_all,
    codec_has_probes_that_tell_apart,
    codec_cuts_sequences_to_their_first_elements,
    hypothesizer_returns_count_signals_a_target,
    hypothesizer_repeats_itself_under_a_seed,
    corrector_returns_count_signals_a_hypothesis,
    corrector_repeats_itself_under_a_seed,
    corrector_leaves_its_input_alone,
    inverter_works_with_no_steps,
    inverter_never_gets_worse_with_more_steps,
    inverter_repeats_itself_under_a_seed,
    inverter_reports_the_similarity_of_what_it_returns,
    inverter_keeps_to_its_budget,
    inverter_refuses_vectors_that_are_none,
    metrics_like_perfection_best,
)


def applies(check: Check, inverter: Inverter) -> bool:
    """Whether the inverter declares the ability that `check` is about."""
    if check is embedder_is_normalized_if_it_says_so:
        return inverter.embedder.normalized
    if check is codec_cuts_sequences_to_their_first_elements:
        return isinstance(inverter.codec, SequenceCodec)
    return True


def _generator(inverter: Inverter) -> torch.Generator:
    return torch.Generator(inverter.embedder.device).manual_seed(11)


def _guesses(inverter: Inverter, objects: Sequence[Any], count: int) -> Tensor:
    return inverter.hypothesizer.hypothesize(inverter.embed(objects), count, _generator(inverter))


def _state(inverter: Inverter, objects: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
    target = inverter.embed(objects)
    hypothesis = inverter.hypothesizer.hypothesize(target, 1, _generator(inverter))[:, 0]
    return target, hypothesis, inverter.embedder.embed(hypothesis)


def _corrections(inverter: Inverter, objects: Sequence[Any], count: int) -> Tensor:
    return inverter.corrector.correct(*_state(inverter, objects), count, _generator(inverter))


def _same_kind(inverter: Inverter, objects: Sequence[Any], made: Tensor, count: int) -> None:
    signals = inverter.codec.encode(objects)
    _equal(tuple(made.shape), (len(objects), count, *signals.shape[1:]), "the shape of the candidates")
    _equal(made.dtype, signals.dtype, "the type of the candidates")


def _equal(found: object, wanted: object, what: str) -> None:
    assert found == wanted, f"{what}: {found}, not {wanted}"


def _close(a: Tensor, b: Tensor, what: str) -> None:
    gap = float((a.cpu() - b.cpu()).abs().max())
    assert gap <= 1e-4, f"{what} differ by {gap:.2g}"


def _refused(call: Callable[[], object], what: str) -> None:
    try:
        call()
    except InputError:
        return
    raise AssertionError(f"{what}: no InputError was raised")
