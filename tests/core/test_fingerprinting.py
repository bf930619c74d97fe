"""Embedders are told apart; rounding isn't mistaken for another embedder."""

import json

from unembed.fingerprinting import fingerprint, same
from unembed.testing.toy import ToyCodec, ToyEmbedder


def test_fingerprint_survives_json_and_small_noise() -> None:
    a = fingerprint(ToyEmbedder(), ToyCodec())
    noisy = ToyEmbedder()
    noisy.table += 1e-4
    assert same(a, json.loads(json.dumps(fingerprint(noisy, ToyCodec()))))


def test_fingerprint_of_another_embedder_differs() -> None:
    other = ToyEmbedder()
    other.table = other.table.flip(0)
    a, b = fingerprint(ToyEmbedder(), ToyCodec()), fingerprint(other, ToyCodec())
    assert not same(a, b) and a["hash"] != b["hash"]
    assert not same(a, a | {"dimension": 3})
