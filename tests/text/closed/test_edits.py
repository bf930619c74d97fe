"""Edits against literal ones on Python lists: every kind, in the order of its gain."""

from itertools import pairwise

import pytest
import torch

from unembed_text.decoder.decoder import Special
from unembed_text.methods.closed.edits import SPAN, edits
from unembed_text.methods.closed.network import InversionNetwork

VOCABULARY = 14
T5 = {
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 16,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 4,
    "vocab_size": VOCABULARY,
    "feed_forward_proj": "gated-gelu",
}
PAD, START, END = 0, 1, 2


@pytest.fixture(scope="module")
def network() -> InversionNetwork:
    torch.manual_seed(1)
    special = Special(pad=PAD, start=START, end=END)
    return InversionNetwork(T5, dimension=6, positions=2, hidden=8, special=special).eval()


def literal(log: torch.Tensor, ids: list[int]) -> dict[tuple[int, ...], float]:
    """Every edit of `ids` with its best gain, from log-probabilities `[len(ids) + 1, V]`."""
    after = [*ids, END]
    size = len(ids)
    found: dict[tuple[int, ...], float] = {}

    def gain(place: int, other: int) -> float:
        return float(log[place, other] - log[place, after[place]])

    def add(text: list[int], score: float) -> None:
        if text and text != ids:
            found[tuple(text)] = max(score, found.get(tuple(text), -torch.inf))

    for i in range(size + 1):
        for token in set(range(VOCABULARY)) - {PAD, START, END, after[i]}:
            add([*ids[:i], token, *ids[i:]], gain(i, token))
            if i < size:
                add([*ids[:i], token, *ids[i + 1 :]], gain(i, token))
        if i < size:
            add([*ids[:i], *ids[i + 1 :]], gain(i, after[i + 1]))
        for j in range(i + 2, size):
            swapped = ids.copy()
            swapped[i], swapped[j] = ids[j], ids[i]
            add(swapped, gain(i, ids[j]) + gain(j, ids[i]))
        for width in range(1, SPAN + 1):
            for k in range(size + 1):
                if i + width <= size and not i <= k <= i + width:
                    rest = [(p, t) for p, t in enumerate(ids) if not i <= p < i + width]
                    text = [t for p, t in rest if p < k] + ids[i : i + width] + [t for p, t in rest if p >= k]
                    add(text, gain(k, ids[i]) + gain(i + width, after[k]) + gain(i, after[i + width]))
    return found


@torch.no_grad()
def test_edits_are_all_the_literal_ones_best_first(network) -> None:
    draw = torch.Generator().manual_seed(0)
    hypothesis = torch.randint(3, VOCABULARY, (3, 8), generator=draw)
    hypothesis[1, 5:] = PAD
    target, embedding = torch.randn(2, 3, 6, generator=draw)
    states, mask = network.encode(target, hypothesis, embedding)
    logits = network.decoder.logits(network.decoder.read(states, mask, hypothesis)).log_softmax(-1).clamp_min(-30)
    many = edits(network.decoder, states, mask, hypothesis, count=3000, choices=VOCABULARY - 3)
    for row in range(3):
        ids = [x for x in hypothesis[row].tolist() if x != PAD]
        expected = literal(logits[row], ids)
        got = [tuple(x for x in text if x != PAD) for text in many[row].tolist()]
        assert set(got) - {tuple(ids)} == set(expected)
        scores = [expected[text] for text in dict.fromkeys(got) if text != tuple(ids)]
        assert all(a >= b - 1e-4 for a, b in pairwise(scores))


@torch.no_grad()
def test_edits_of_one_token_leave_a_text(network) -> None:
    hypothesis = torch.tensor([[5]])
    states, mask = network.encode(torch.randn(1, 6), hypothesis, torch.randn(1, 6))
    found = edits(network.decoder, states, mask, hypothesis, count=60, choices=5)
    assert (found != PAD).any(-1).all()
    assert found.shape == (1, 60, 2)
