"""The black box: what its vectors are, and that asking changes nothing."""

from collections.abc import Sequence
from typing import Any

import torch

from unembed.inversion.inverter import Inverter
from unembed.testing.checks._tools import close, equal
from unembed.testing.checks.codec import codec_gives_rows_of_one_shape
from unembed.testing.suite import check

Objects = Sequence[Any]


@check(codec_gives_rows_of_one_shape)
def embedder_returns_its_declared_width(inverter: Inverter, objects: Objects) -> None:
    """`_embed` returns one row a signal, as wide as the `dimension` that the embedder declares."""
    embedder = inverter.embedder
    vectors = embedder._embed(inverter.codec.encode(objects).to(embedder.device))
    equal(tuple(vectors.shape), (len(objects), embedder.dimension), "the shape of the embeddings")


@check(embedder_returns_its_declared_width)
def embedder_stays_on_its_device(inverter: Inverter, objects: Objects) -> None:
    """Embeddings are on the device that the embedder declares."""
    embedder = inverter.embedder
    vectors = embedder._embed(inverter.codec.encode(objects).to(embedder.device))
    equal(vectors.device.type, embedder.device.type, "the device of the embeddings")


@check(embedder_stays_on_its_device)
def embedder_returns_finite_numbers(inverter: Inverter, objects: Objects) -> None:
    """No embedding holds NaN or infinity."""
    embedder = inverter.embedder
    vectors = embedder._embed(inverter.codec.encode(objects).to(embedder.device))
    assert torch.isfinite(vectors).all(), "an embedding isn't finite"


@check(embedder_returns_finite_numbers)
def embedder_returns_more_than_zeros(inverter: Inverter, objects: Objects) -> None:
    """No object, probes included, is embedded as zeros only: such a vector says nothing, and `invert` refuses it."""
    for what, items in (("object", objects), ("probe", inverter.codec.probes)):
        for item, vector in zip(items, inverter.embed(list(items)), strict=True):
            assert vector.any(), f"the embedding of the {what} {item!r} is all zeros"


@check(embedder_returns_more_than_zeros)
def embedder_counts_its_queries(inverter: Inverter, objects: Objects) -> None:
    """`queries` grows by one for each embedded signal."""
    before = inverter.embedder.queries
    inverter.embed(objects)
    equal(inverter.embedder.queries - before, len(objects), "the queries counted")


@check(embedder_returns_more_than_zeros)
def embedder_repeats_itself(inverter: Inverter, objects: Objects) -> None:
    """The same signal gets the same vector every time."""
    close(inverter.embed(objects), inverter.embed(objects), "two embeddings of the same objects")


@check(embedder_repeats_itself)
def embedder_treats_a_row_alone_as_in_a_batch(inverter: Inverter, objects: Objects) -> None:
    """A vector depends on its own signal alone: not on the other rows of its batch, nor on their order."""
    together = inverter.embed(objects)
    close(together, torch.cat([inverter.embed([item]) for item in objects]), "rows embedded together and alone")
    close(together.flip(0), inverter.embed(list(reversed(objects))), "rows embedded in one order and in another")


@check(embedder_returns_more_than_zeros)
def embedder_takes_an_empty_batch(inverter: Inverter, objects: Objects) -> None:
    """No signals give no embeddings, `[0, dimension]`, and cost no query."""
    before = inverter.embedder.queries
    vectors = inverter.embedder.embed(inverter.codec.encode(objects)[:0])
    equal(tuple(vectors.shape), (0, inverter.embedder.dimension), "the shape of no embeddings")
    equal(inverter.embedder.queries, before, "the queries counted")


@check(embedder_returns_more_than_zeros)
def embedder_leaves_its_input_alone(inverter: Inverter, objects: Objects) -> None:
    """Embedding doesn't change the signals that it is given."""
    signals = inverter.codec.encode(objects)
    before = signals.clone()
    inverter.embedder.embed(signals)
    assert torch.equal(signals, before), "embedding changed the signals that it was given"


@check(embedder_returns_more_than_zeros, when=lambda inverter, objects: inverter.embedder.normalized)
def embedder_is_normalized_if_it_says_so(inverter: Inverter, objects: Objects) -> None:
    """Embeddings of an embedder that declares `normalized` have norm 1."""
    norms = inverter.embed(objects).norm(dim=-1)
    close(norms, torch.ones_like(norms), "the norms of embeddings declared normalized and 1")


@check(embedder_repeats_itself)
def similarity_is_one_at_most_and_for_equals(inverter: Inverter, objects: Objects) -> None:
    """The embedder's similarity is one finite number a row: 1 for a vector and itself, never more for two others."""
    vectors = inverter.embed(objects)
    same = inverter.embedder.similarity(vectors, vectors)
    other = inverter.embedder.similarity(vectors, vectors.roll(1, 0))
    equal(tuple(same.shape), (len(vectors),), "the shape of the similarities")
    close(same, torch.ones_like(same), "the similarities of vectors with themselves and 1")
    assert torch.isfinite(other).all(), "the similarity of two vectors isn't finite"
    assert (other <= 1 + 1e-5).all(), f"the similarity of two vectors is {float(other.max()):.6g}, above 1"


@check(embedder_repeats_itself)
def codec_has_probes_that_tell_apart(inverter: Inverter, objects: Objects) -> None:
    """`probes` are two or more objects with different embeddings: they identify an embedder."""
    vectors = inverter.embed(list(inverter.codec.probes))
    assert len(vectors) >= 2, f"there is only {len(vectors)} probe"
    assert len({tuple(row) for row in vectors.tolist()}) == len(vectors), "two probes have one embedding"
