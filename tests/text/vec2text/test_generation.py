"""Beam search finds what a literal one finds: that of transformers 4.44, which vec2text decodes with."""

import pytest
import torch

from unembed_text.decoder import graphs
from unembed_text.decoder.beams import decode
from unembed_text.decoder.convert import store_weights
from unembed_text.decoder.decoder import Special
from unembed_text.decoder.graphs import DecodeGraph, kept_graphs
from unembed_text.methods.vec2text.network import GuessNetwork
from unembed_text.methods.vec2text.scoring import scoring_of

pytestmark = pytest.mark.usefixtures("one_thread")
PAD, END = 0, 1


def beam_search(network, states, mask, *, beams: int, length: int) -> torch.Tensor:
    return decode(network.decoder, states, mask, scoring_of(beams), beams=beams, length=length)


def literal(network, states, mask, beams: int, length: int) -> list[list[int]]:
    """One row, one text at a time, the whole decoder for each token."""
    writing: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for position in range(length):
        found = []
        for score, text in writing:
            ids = torch.tensor([[*text, PAD]])
            logits = network.decoder.lm_head(network.decoder.read(states, mask, ids))[0, position].log_softmax(-1)
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
    network.decoder.lm_head.weight.data.normal_(std=0.6)[END] *= 5
    return network


@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("beams", [1, 2, 5])
@torch.no_grad()
def test_beam_search_equals_a_literal_one(beams, recorded, monkeypatch) -> None:
    if recorded:  # as on a GPU
        monkeypatch.setattr(graphs, "worth_recording", lambda *shape: True)
        turn = DecodeGraph._turn
        monkeypatch.setattr(DecodeGraph, "_turn", lambda self, *given: (turn(self, *given), turn(self, *given))[1])
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
    advance = DecodeGraph.advance
    monkeypatch.setattr(DecodeGraph, "advance", lambda self, *given: turns.append(self) or advance(self, *given))
    monkeypatch.setattr(graphs, "worth_recording", lambda *shape: True)
    for batch, wanted in zip(batches, plain, strict=True):
        assert torch.equal(beam_search(network, *batch, beams=beams, length=20), wanted)
    assert len(set(turns)) == 1
    assert len(turns) < 20 * len(batches)  # some end before their last turn
    assert any((ids != PAD).all(-1).any() for ids in plain)  # some don't


@pytest.mark.gpu
@pytest.mark.parametrize("beams", [1, 4])
@torch.no_grad()
def test_replayed_searches_write_what_unrecorded_ones_do(beams, monkeypatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    network = made(0).cuda()
    store_weights(network, torch.device("cuda"))
    found, worth = {}, graphs.worth_recording
    for recorded in (False, True, True):
        monkeypatch.setattr(graphs, "worth_recording", worth if recorded else lambda *shape: False)
        texts = []
        for rows in (5, 8, 1):  # recorded, replayed, and what one search leaves in the buffers isn't the next one's
            target = torch.randn(rows, 8, generator=torch.Generator().manual_seed(rows)).cuda()
            with network.autocast():
                texts.append(beam_search(network, *network.encode(target, None, None), beams=beams, length=20))
        found.setdefault(recorded, []).append(torch.cat(texts))
    (plain,), (recorded, replayed) = found[False], found[True]
    assert kept_graphs(network.decoder) and torch.equal(recorded, replayed)
    assert (recorded == plain).all(-1).float().mean() > 0.8  # rounded otherwise, and close calls fall otherwise
    assert (plain == PAD).any() and not (plain == PAD).all(-1).any()
