"""The two learned parts, and an editor where there is one: what they write."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unembed.inversion.inverter import Inverter
from unembed.testing.checks._tools import corrections, equal, generator, guesses, state
from unembed.testing.checks.embedder import embedder_repeats_itself
from unembed.testing.suite import check

Objects = Sequence[Any]


@check(embedder_repeats_itself)
def hypothesizer_returns_count_signals_a_target(inverter: Inverter, objects: Objects) -> None:
    """`hypothesize` returns `[N, count, ...]`, signals of the codec's own shape and type."""
    _same_kind(inverter, objects, guesses(inverter, objects, 3), 3)


@check(hypothesizer_returns_count_signals_a_target)
def hypothesizer_stays_on_its_device(inverter: Inverter, objects: Objects) -> None:
    """Guesses are on the device of the targets."""
    equal(guesses(inverter, objects, 2).device.type, inverter.embedder.device.type, "the device of the guesses")


@check(hypothesizer_stays_on_its_device)
def hypothesizer_repeats_itself_under_a_seed(inverter: Inverter, objects: Objects) -> None:
    """All randomness of a guess comes from the generator that is passed in."""
    assert torch.equal(guesses(inverter, objects, 2), guesses(inverter, objects, 2)), (
        "two guesses under one seed differ"
    )


@check(hypothesizer_stays_on_its_device)
def hypothesizer_leaves_its_input_alone(inverter: Inverter, objects: Objects) -> None:
    """Guessing doesn't change the targets."""
    target = inverter.embed(objects)
    before = target.clone()
    inverter.hypothesizer.hypothesize(target, 2, generator(inverter))
    assert torch.equal(before, target), "guessing changed the targets"


@check(hypothesizer_repeats_itself_under_a_seed)
def corrector_returns_count_signals_a_hypothesis(inverter: Inverter, objects: Objects) -> None:
    """`correct` returns `[N, count, ...]`, signals of the codec's own shape and type."""
    _same_kind(inverter, objects, corrections(inverter, objects, 3), 3)


@check(corrector_returns_count_signals_a_hypothesis)
def corrector_stays_on_its_device(inverter: Inverter, objects: Objects) -> None:
    """Corrections are on the device of the hypotheses."""
    made = corrections(inverter, objects, 2)
    equal(made.device.type, inverter.embedder.device.type, "the device of the corrections")


@check(corrector_stays_on_its_device)
def corrector_repeats_itself_under_a_seed(inverter: Inverter, objects: Objects) -> None:
    """All randomness of a correction comes from the generator that is passed in."""
    same = torch.equal(corrections(inverter, objects, 2), corrections(inverter, objects, 2))
    assert same, "two corrections under one seed differ"


@check(corrector_stays_on_its_device)
def corrector_leaves_its_input_alone(inverter: Inverter, objects: Objects) -> None:
    """Correcting changes neither the targets nor the hypotheses nor their embeddings."""
    given = state(inverter, objects)
    before = [part.clone() for part in given]
    inverter.corrector.correct(*given, 2, generator(inverter))
    kept = all(torch.equal(a, b) for a, b in zip(before, given, strict=True))
    assert kept, "correcting changed what it was given"


@check(corrector_stays_on_its_device)
def codec_reads_back_what_was_proposed(inverter: Inverter, objects: Objects) -> None:
    """Whatever the two networks write decodes to objects that the codec can encode again."""
    for made in (guesses(inverter, objects, 3), corrections(inverter, objects, 3)):
        signals = made.flatten(0, 1)
        equal(inverter.codec.encode(inverter.codec.decode(signals)).shape, signals.shape, "the shape read back")


@check(corrector_leaves_its_input_alone, when=lambda inverter, objects: inverter.editor is not None)
def editor_keeps_what_a_corrector_promises(inverter: Inverter, objects: Objects) -> None:
    """Edits and combinations of them have the codec's shape and type, come again under a seed, change nothing given."""
    editor, given = inverter.editor, state(inverter, objects)
    assert editor is not None
    edits = _made(inverter, objects, lambda: editor.correct(*given, 3, generator(inverter)), given, 3)
    combine = inverter.parts.get("combine")
    if combine is not None:
        answers = inverter.embedder.embed(edits.flatten(0, 1)).view(*edits.shape[:2], -1)
        tried = (*given, edits, answers)
        _made(inverter, objects, partial(combine, *tried, 2), tried, 2)


def _made(
    inverter: Inverter, objects: Objects, make: Callable[[], Tensor], given: Sequence[Tensor], count: int
) -> Tensor:
    """What `make` gives, once it has been found to be as candidates should be."""
    before = [part.clone() for part in given]
    made = make()
    _same_kind(inverter, objects, made, count)
    equal(made.device.type, inverter.embedder.device.type, "the device of the candidates")
    assert all(map(torch.equal, before, given)), "what was given has changed"
    assert torch.equal(made, make()), "two calls under one seed differ"
    return made


def _same_kind(inverter: Inverter, objects: Objects, made: Tensor, count: int) -> None:
    signals = inverter.codec.encode(objects)
    equal(tuple(made.shape), (len(objects), count, *signals.shape[1:]), "the shape of the candidates")
    equal(made.dtype, signals.dtype, "the type of the candidates")
