"""The whole: what an inversion costs, promises and refuses."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from unembed.engine.loop import search
from unembed.errors import InputError
from unembed.inversion.inverter import Inverter
from unembed.testing.checks._tools import Spy, close, equal, light, refused
from unembed.testing.checks.embedder import (
    embedder_counts_its_queries,
    embedder_treats_a_row_alone_as_in_a_batch,
    similarity_is_one_at_most_and_for_equals,
)
from unembed.testing.checks.proposals import (
    codec_reads_back_what_was_proposed,
    corrector_leaves_its_input_alone,
    corrector_repeats_itself_under_a_seed,
    editor_keeps_what_a_corrector_promises,
    hypothesizer_leaves_its_input_alone,
)
from unembed.testing.suite import check

Objects = Sequence[Any]
_PARTS = (
    similarity_is_one_at_most_and_for_equals,
    hypothesizer_leaves_its_input_alone,
    corrector_leaves_its_input_alone,
    codec_reads_back_what_was_proposed,
    editor_keeps_what_a_corrector_promises,
)


@check(*_PARTS)
def inverter_asks_without_gradients(inverter: Inverter, objects: Objects) -> None:
    """The embedder is a black box: nothing is ever differentiated through it."""
    with torch.enable_grad(), Spy(inverter.embedder) as spy:
        found = inverter.invert(inverter.embed(objects), effort=light(inverter, "medium"), steps=1, beam=2)
    assert not spy.gradients, "the embedder was asked with gradients on"
    assert not found.embeddings.requires_grad, "the embeddings of a result carry gradients"


@check(inverter_asks_without_gradients, embedder_counts_its_queries)
def inverter_counts_every_query(inverter: Inverter, objects: Objects) -> None:
    """Only the loop asks the embedder, edits included: what reaches it is what `queries` reports."""
    for effort in ("medium", "high"):
        for vector in inverter.embed(objects):
            before = inverter.embedder.queries
            with Spy(inverter.embedder) as spy:
                found = inverter.invert(vector, effort=light(inverter, effort), steps=2, beam=2, max_queries=60)
            equal(int(found.queries[0]), len(spy.rows), "the queries reported, and those that reached the embedder")
            equal(inverter.embedder.queries - before, len(spy.rows), "the queries counted, and those that reached it")


@check(inverter_counts_every_query)
def inverter_keeps_to_its_budget(inverter: Inverter, objects: Objects) -> None:
    """With `max_queries`, no more signals of a target are embedded: at any effort, one of one query too."""
    (vector,) = inverter.embed(objects[:1])
    for effort in inverter.efforts:
        for most in (1, 4):
            with Spy(inverter.embedder) as spy:
                found = inverter.invert(vector, effort=light(inverter, effort), steps=2, max_queries=most)
            assert len(spy.rows) <= most, f"{len(spy.rows)} queries at effort {effort!r} where {most} were allowed"
            equal(int(found.queries[0]), len(spy.rows), "the queries reported, and those that reached the embedder")


@check(inverter_counts_every_query)
def inverter_embeds_a_signal_once(inverter: Inverter, objects: Objects) -> None:
    """A signal that a target has met is never embedded for it again, whichever move asks: at effort `high` too."""
    embedder = inverter.embedder
    for effort in ("medium", "high"):
        for vector in inverter.embed(objects):
            with Spy(embedder) as spy:
                search(
                    vector[None],
                    embed=embedder.embed,
                    parts=inverter.parts,
                    effort=light(inverter, effort).override(steps=3, beam=3),
                    similarity=embedder.similarity,
                )
            rows = torch.stack(spy.rows)
            equal(len(rows), len(torch.unique(rows, dim=0)), "signals embedded, and different ones among them")


@check(*_PARTS)
def inverter_works_with_no_steps(inverter: Inverter, objects: Objects) -> None:
    """`steps=0` is the hypothesizer alone: one object a vector, no step taken."""
    found = inverter.invert(inverter.embed(objects), effort=light(inverter, "medium"), steps=0, beam=2)
    equal(len(found.objects), len(objects), "the objects recovered")
    equal(found.steps.tolist(), [0] * len(objects), "the steps taken")


@check(*_PARTS)
def inverter_never_gets_worse_with_more_steps(inverter: Inverter, objects: Objects) -> None:
    """The best similarity of a target never falls from one step to the next."""
    trace = inverter.invert(
        inverter.embed(objects), effort=light(inverter, "medium"), steps=2, beam=2, trace=True
    ).trace
    assert trace is not None, "there is no trace"
    for before, after in pairwise(trace):
        assert (after.similarity >= before.similarity).all(), "a step lowered a target's best similarity"


@check(*_PARTS, corrector_repeats_itself_under_a_seed)
def inverter_repeats_itself_under_a_seed(inverter: Inverter, objects: Objects) -> None:
    """One seed gives one result, with edits too."""
    vectors = inverter.embed(objects[:2])
    for effort in ("medium", "high"):
        a, b = (inverter.invert(vectors, effort=light(inverter, effort), steps=1, beam=2, seed=5) for _ in range(2))
        assert torch.equal(a.signals, b.signals), f"two inversions under one seed differ at effort {effort!r}"


@check(inverter_works_with_no_steps, embedder_treats_a_row_alone_as_in_a_batch)
def inverter_reports_the_similarity_of_what_it_returns(inverter: Inverter, objects: Objects) -> None:
    """The similarity of a result is that of the object returned, embedded anew."""
    vectors = inverter.embed(objects)
    found = inverter.invert(vectors, effort=light(inverter, "medium"), steps=1, beam=2)
    measured = inverter.embedder.similarity(vectors, inverter.embed(found.objects))
    close(found.similarity, measured, "the reported similarity and that of the objects returned")


@check(*_PARTS)
def inverter_refuses_vectors_that_are_none(inverter: Inverter, objects: Objects) -> None:
    """Vectors of another width, with NaN, of zeros only, or none at all raise InputError."""
    good = inverter.embed(objects[:1])
    for vectors, what in (
        (torch.cat([good, good], 1), "vectors of the wrong width"),
        (torch.full_like(good, torch.nan), "NaN"),
        (torch.zeros_like(good), "a vector of zeros"),
        (good[:0], "no vectors"),
    ):
        refused(partial(inverter.invert, vectors, steps=0, beam=1), what, InputError)


@check(*_PARTS, when=lambda inverter, objects: bool(inverter.metrics))
def metrics_like_perfection_best(inverter: Inverter, objects: Objects) -> None:
    """A metric has one row of counts an item, and is best for perfect reconstructions."""
    references = inverter.codec.decode(inverter.codec.encode(objects))
    for name, metric in inverter.metrics.items():
        perfect = metric.statistics(references, references)
        equal(len(perfect), len(references), f"the rows of {name}'s statistics")
        shifted = metric.statistics(references, references[1:] + references[:1])
        best, worse = metric.aggregate(perfect.sum(0)), metric.aggregate(shifted.sum(0))
        better = best < worse if metric.lowest_best else best > worse
        assert better, f"{name} is {best} for perfect reconstructions and {worse} for others"
