"""Beam search finds what a literal one finds: that of transformers 4.44, which vec2text decodes with."""

import pytest
import torch

from unembed_text.decoder.graphs import Recording
from unembed_text.methods.closed.network import Special, stored_for
from unembed_text.methods.vec2text.beams import beam_search
from unembed_text.methods.vec2text.network import GuessNetwork

pytestmark = pytest.mark.usefixtures("one_thread")
PAD, END = 0, 1


def literal(network, states, mask, beams: int, length: int) -> list[list[int]]:
    """One row, one text at a time, the whole decoder for each token."""
    writing: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for position in range(length):
        found = []
        for score, text in writing:
            ids = torch.tensor([[*text, PAD]])
            logits = network.t5.lm_head(network.read(states, mask, ids))[0, position].log_softmax(-1)
            for token, value in enumerate(logits.tolist()):
                if token != PAD and not (position == 0 and token == END):
                    found.append((score + value, [*text, token]))
        found = sorted(found, key=lambda pair: -pair[0])[: 2 * beams]
        for score, text in found[:beams]:
            if text[-1] == END:
                ended = sorted([*ended, (score / (position + 1), text[:-1])], key=lambda pair: -pair[0])[:beams]
        writing = [pair for pair in found if pair[1][-1] != END][:beams]
        if len(ended) == beams and ended[-1][0] >= found[0][0] / (position + 1):
            break
    else:
        ended = sorted([*ended, *((score / length, text) for score, text in writing)], key=lambda pair: -pair[0])
    return [text + [PAD] * (length - len(text)) for _, text in ended[:beams]]


def made(seed: int) -> GuessNetwork:
    """A network that ends some texts early."""
    torch.manual_seed(seed)
    shape = {"vocab_size": 24, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
    special = Special(pad=PAD, start=PAD, end=END)
    network = GuessNetwork(shape, dimension=8, positions=3, hidden=8, special=special, tied=False).eval()
    network.t5.lm_head.weight.data.normal_(std=0.6)[END] *= 5
    return network


@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("beams", [1, 2, 5])
@torch.no_grad()
def test_beam_search_equals_a_literal_one(beams, recorded, monkeypatch) -> None:
    if recorded:  # as on a GPU
        monkeypatch.setattr("unembed_text.methods.closed.network.records", lambda *shape: True)
        turned = Recording._turned
        monkeypatch.setattr(Recording, "_turned", lambda self, first: (turned(self, first), turned(self, first))[1])
    network = made(beams)
    states, mask = network.encode(torch.randn(8, 8), None, None)
    found = beam_search(network, states, mask, beams=beams, length=7)
    wanted = [literal(network, states[row, None], mask[row, None], beams, 7) for row in range(8)]
    assert found.tolist() == wanted
    assert len({tuple(row) for row in found.flatten(0, 1).tolist()}) > 4
    assert ((found == PAD).any(-1)).any() and ((found != PAD).all(-1)).any()  # some end, some don't


@pytest.mark.parametrize("rows", [0, 1, 8])
@pytest.mark.parametrize("beams", [1, 4])
@torch.no_grad()
def test_a_late_count_changes_nothing(rows, beams, request) -> None:
    network = made(0)
    states = network.encode(torch.randn(rows, 8, generator=torch.Generator().manual_seed(rows)), None, None)
    wanted = beam_search(network, *states, beams=beams, length=20)
    request.getfixturevalue("counted_late")
    assert torch.equal(beam_search(network, *states, beams=beams, length=20), wanted)
    assert wanted.shape == (rows, beams, 20)


@pytest.mark.parametrize("beams", [1, 4])
@torch.no_grad()
def test_searches_of_several_sizes_share_a_recording(beams, monkeypatch) -> None:
    network = made(0)
    batches = [network.encode(torch.randn(rows, 8), None, None) for rows in (5, 8, 1, 3, 5)]
    plain = [beam_search(network, *batch, beams=beams, length=20) for batch in batches]
    turns = []
    turn = Recording.turn
    monkeypatch.setattr(Recording, "turn", lambda self, first: turns.append(self) or turn(self, first))
    monkeypatch.setattr("unembed_text.methods.closed.network.records", lambda *shape: True)
    for batch, wanted in zip(batches, plain, strict=True):
        assert torch.equal(beam_search(network, *batch, beams=beams, length=20), wanted)
    assert len(set(turns)) == 1
    assert len(turns) < 20 * len(batches)  # some end before their last turn
    assert any((ids != PAD).all(-1).any() for ids in plain)  # some don't


@pytest.mark.gpu
@pytest.mark.parametrize("beams", [1, 4])
@torch.no_grad()
def test_replayed_searches_write_what_unrecorded_ones_do(beams) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    network = made(0).cuda()
    stored_for(torch.device("cuda"), network)
    found = {}
    for network.records in (False, True, True):
        texts = []
        for rows in (5, 8, 1):  # recorded, replayed, and what one search leaves in the buffers isn't the next one's
            target = torch.randn(rows, 8, generator=torch.Generator().manual_seed(rows)).cuda()
            with network.autocast():
                texts.append(beam_search(network, *network.encode(target, None, None), beams=beams, length=20))
        found.setdefault(network.records, []).append(torch.cat(texts))
    (plain,), (recorded, replayed) = found[False], found[True]
    assert network.recordings._kept and torch.equal(recorded, replayed)
    assert (recorded == plain).all(-1).float().mean() > 0.8  # rounded otherwise, and close calls fall otherwise
    assert (plain == PAD).any() and not (plain == PAD).all(-1).any()
