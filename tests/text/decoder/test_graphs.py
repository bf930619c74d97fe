"""Recorded turns give what unrecorded ones do, whatever their buffers held before."""

import gc
import pickle
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch

from unembed_text.decoder import convert, graphs
from unembed_text.decoder.attention import cached_attention
from unembed_text.decoder.beams import decode
from unembed_text.decoder.convert import store_weights
from unembed_text.decoder.decoder import Special
from unembed_text.decoder.graphs import DecodeGraph, GraphRun, PlainRun, kept_graphs
from unembed_text.decoder.runs import Scoring
from unembed_text.methods.closed.network import InversionNetwork
from unembed_text.methods.closed.proposers import NetworkHypothesizer
from unembed_text.methods.closed.scoring import LogProbability

T5 = {"vocab_size": 60, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
LENGTH = 9


def network(device: str, **shape) -> InversionNetwork:
    torch.manual_seed(0)
    special = Special(pad=0, start=1, end=2)
    made = InversionNetwork(T5 | shape, dimension=12, positions=3, hidden=16, special=special).eval()
    for name, weight in made.named_parameters():
        if name.endswith("norm.weight"):
            weight.data.uniform_(0.5, 2)
    made.to(device)
    if device.startswith("cuda"):
        store_weights(made, torch.device(device))
    return made


def encoded(net: InversionNetwork, rows: int, tokens: int):
    draw = torch.Generator().manual_seed(rows)
    target, embedding = torch.randn(2, rows, 12, generator=draw).to(net.decoder.token_embed.weight.device)
    hypothesis = torch.randint(3, 60, (rows, tokens), generator=draw).to(target.device)
    hypothesis[0, 2:] = 0
    return net.encode(target, hypothesis, embedding)


class Walk(NamedTuple):
    """A search that writes given tokens after given parents, and notes what it meets."""

    last: torch.Tensor  # [R, B]
    tokens: torch.Tensor  # [R, LENGTH, beams]
    parents: torch.Tensor  # [R, LENGTH, beams]
    met: torch.Tensor  # [R, LENGTH, beams, width]


@dataclass(frozen=True)
class Walking(Scoring):
    """That of a walk."""

    def begin(self, decoder, padding):
        raise NotImplementedError

    def select(self, decoder, hidden, state: Walk, position, beams: int, first: bool):
        last, parent = (x.index_select(1, position)[:, 0] for x in (state.tokens, state.parents))
        hidden = hidden.float().expand(-1, beams, -1)[:, None]
        return Walk(last, state.tokens, state.parents, state.met.index_copy(1, position, hidden)), parent

    def texts(self, state, *, cut):
        raise NotImplementedError


def beam_search(net: InversionNetwork, states, mask, *, beams: int, length: int, sampled: bool = False) -> torch.Tensor:
    return decode(net.decoder, states, mask, LogProbability(sampled), beams=beams, length=length)


def steps(net: InversionNetwork, states, mask, beams: int) -> torch.Tensor:
    """Hidden states of a few turns whose beams change places."""
    draw = torch.Generator().manual_seed(1)
    shape, device = (len(states), LENGTH, beams), states.device
    tokens, parents = (torch.randint(*ends, shape, generator=draw).to(device) for ends in ((3, 60), (0, beams)))
    parents[:, 0] = 0
    last = torch.ones(len(states), 1, dtype=torch.long, device=device)
    state = Walk(last, tokens, parents, torch.zeros(*shape, net.width, device=device))
    run = graphs.begin(net.decoder, states, mask, Walking(), beams=beams, length=LENGTH)
    for _ in range(LENGTH):
        state = run.advance(state)
    return state.met.clone()


@torch.no_grad()
def test_searches_of_several_sizes_share_a_recording(monkeypatch) -> None:
    net = network("cpu")
    batches = [encoded(net, rows, tokens) for rows, tokens in ((5, 7), (3, 4), (8, 6), (5, 7))]
    plain = [beam_search(net, *batch, beams=3, length=LENGTH) for batch in batches]
    monkeypatch.setattr(graphs, "worth_recording", lambda *shape: True)
    for batch, wanted in zip(batches, plain, strict=True):
        assert torch.equal(beam_search(net, *batch, beams=3, length=LENGTH), wanted)
    assert len(kept_graphs(net.decoder)) == 1


@torch.no_grad()
def test_a_graph_is_recorded_once_for_equal_scorings_and_dies_with_its_decoder(monkeypatch) -> None:
    made = []
    monkeypatch.setattr(graphs, "worth_recording", lambda *shape: True)
    init = DecodeGraph.__init__
    monkeypatch.setattr(
        DecodeGraph, "__init__", lambda self, *given: made.append(weakref.ref(self)) or init(self, *given)
    )
    net = network("cpu")
    batch = encoded(net, 5, 7)
    for sampled in (False, True, False, True):  # each search makes a scoring of its own
        beam_search(net, *batch, beams=4, length=LENGTH, sampled=sampled)
    assert len(made) == 2
    del net
    gc.collect()
    assert all(graph() is None for graph in made)


@torch.no_grad()
def test_a_search_within_another_has_buffers_of_its_own(monkeypatch) -> None:
    net = network("cpu")
    states, mask = encoded(net, 4, 5)
    monkeypatch.setattr(graphs, "worth_recording", lambda *shape: True)

    def begun():
        return graphs.begin(net.decoder, states, mask, Walking(), beams=2, length=LENGTH)

    first, second = begun(), begun()
    assert isinstance(first, GraphRun) and isinstance(second, PlainRun)
    del first
    assert isinstance(begun(), GraphRun)


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_recorded_turns_equal_plain_ones(beams, monkeypatch) -> None:
    net = network("cpu")
    states, mask = encoded(net, 5, 7)
    plain = steps(net, states, mask, beams)
    monkeypatch.setattr(graphs, "worth_recording", lambda *shape: True)
    for _ in range(2):
        assert torch.allclose(steps(net, states, mask, beams), plain, atol=1e-5)


@torch.no_grad()
def test_searches_in_two_threads_share_no_buffers(monkeypatch) -> None:
    net = network("cpu")
    batches = [encoded(net, 5, 7), encoded(net, 6, 7)]
    plain = [beam_search(net, *batch, beams=3, length=LENGTH) for batch in batches]
    monkeypatch.setattr(graphs, "worth_recording", lambda *shape: True)
    read = DecodeGraph.read

    def slow_read(graph, *given) -> None:
        time.sleep(0.002)  # another thread may take what this one has just been given
        read(graph, *given)

    monkeypatch.setattr(DecodeGraph, "read", slow_read)

    @torch.no_grad()
    def search(number: int) -> torch.Tensor:
        return beam_search(net, *batches[number % 2], beams=3, length=LENGTH)

    with ThreadPoolExecutor(2) as pool:
        for number, found in enumerate(pool.map(search, range(40))):
            assert torch.equal(found, plain[number % 2])
    assert torch.equal(beam_search(pickle.loads(pickle.dumps(net)), *batches[0], beams=3, length=LENGTH), plain[0])


def drawn(net: InversionNetwork, states, mask) -> torch.Tensor:
    """Texts of a search half of which is sampled."""
    return beam_search(net, states, mask, beams=6, length=LENGTH, sampled=True)


@torch.no_grad()
def test_recorded_sampling_draws_the_same(monkeypatch) -> None:
    net = network("cpu")
    batches = [encoded(net, rows, tokens) for rows, tokens in ((5, 7), (3, 4), (5, 7))]
    plain = [drawn(net, *batch) for batch in batches]
    monkeypatch.setattr(graphs, "worth_recording", lambda *shape: True)
    for batch, wanted in zip(batches, plain, strict=True):
        assert torch.equal(drawn(net, *batch), wanted)


def both_ways(search) -> tuple[InversionNetwork, list[torch.Tensor], list[torch.Tensor]]:
    """A network on a GPU, and what a search over it gives with recorded turns and with plain ones."""
    net = network("cuda")
    with torch.autocast("cuda", torch.bfloat16):
        batches = [encoded(net, rows, tokens) for rows, tokens in ((5, 7), (3, 4), (5, 7))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(graphs, "worth_recording", lambda *shape: False)
            plain = [search(net, *batch) for batch in batches]
        return net, [search(net, *batch) for batch in batches], plain


@pytest.mark.gpu
@torch.no_grad()
def test_replayed_sampling_draws_mostly_the_same() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    _, found, plain = both_ways(drawn)
    for a, b in zip(found, plain, strict=True):  # rounded otherwise, a token may change, and all after it
        assert (a == b).float().mean() > 0.8


@pytest.mark.gpu
@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_replayed_graphs_equal_plain_turns(beams) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    net, found, plain = both_ways(lambda net, states, mask: steps(net, states, mask, beams))
    (graph,) = kept_graphs(net.decoder).values()
    assert set(graph.graphs) == {True, False}
    for a, b in zip(found, plain, strict=True):
        assert (a - b).norm() < 0.02 * b.norm()


@pytest.mark.gpu
@torch.no_grad()
@pytest.mark.parametrize("slot", [0, 31, 32, 77])
def test_a_lone_beam_grows_as_attention_written_out_says(slot) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    torch.manual_seed(slot)
    new = torch.randn(3, 256, 12, 1, 64).bfloat16()
    buffers, bias = torch.randn(2, 256, 12, 128, 64).bfloat16(), torch.randn(1, 12, 1, 128)
    bias[..., slot + 1 :] = -1e9
    moved = [part.cuda() for part in buffers]  # written into on either device
    given = torch.tensor([slot]), bias
    found = cached_attention(*new.cuda(), *moved, *(part.cuda() for part in given)).float().cpu()
    wanted = cached_attention(*new, *buffers, *given).float()
    assert (found - wanted).norm() < 0.01 * wanted.norm()
    assert all(torch.equal(a.cpu(), b) for a, b in zip(moved, buffers, strict=True))


@pytest.mark.gpu
@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"d_model": 512, "d_kv": 64, "d_ff": 1024, "num_heads": 6, "feed_forward_proj": "gated-gelu"},
        {"d_model": 128, "d_kv": 64, "d_ff": 256},
        {"d_model": 192, "d_kv": 64, "d_ff": 256},  # no multiple of what the kernels for few rows want
    ],
)
def test_weights_stored_for_a_gpu_give_what_a_cpu_computes(beams, shape) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    alike(network("cuda", **shape), network("cpu", **shape), beams)


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_weights_stored_in_half_precision_on_a_cpu_give_what_whole_ones_do(beams, said) -> None:
    half, whole = network("cpu"), network("cpu")
    said("none")
    store_weights(half, torch.device("cpu"))
    store_weights(whole, torch.device("cpu"), exact=True)
    assert half.decoder.lm_head.weight.dtype == torch.bfloat16 and whole.decoder.lm_head.weight.dtype == torch.float32
    alike(half, whole, beams)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("ieee", torch.float32)])
def test_what_torch_was_told_of_precision_counts_for_all_networks(precision, dtype, said) -> None:
    said(precision)  # as set_float32_matmul_precision does with "medium" and "highest"
    for exact in (False, True):
        net = network("cpu")
        store_weights(net, torch.device("cpu"), exact=exact)
        assert net.decoder.lm_head.weight.dtype == dtype


@pytest.fixture
def said(monkeypatch):
    """A CPU that is fast in bfloat16, and a way to say how precise products in float32 have to be."""
    monkeypatch.setattr(convert, "bfloat16_is_fast", lambda device: True)
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    yield lambda precision: setattr(matmul, "fp32_precision", precision)
    matmul.fp32_precision = before


def alike(half: InversionNetwork, whole: InversionNetwork, beams: int) -> None:
    found = []
    for net in (half, whole):
        with net.autocast():
            states, mask = encoded(net, 5, 7)
            found.append([states.float().cpu(), steps(net, states, mask, beams).cpu()])
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() < 0.03 * b.norm()


@pytest.mark.gpu
def test_another_device_than_the_current_one_writes_the_same() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    found = []
    for device in ("cuda:0", "cuda:1"):
        writer = NetworkHypothesizer(network(device), width=LENGTH, length=LENGTH)
        target = torch.randn(5, 12, generator=torch.Generator().manual_seed(3)).to(device)
        found += [writer.hypothesize(target, count).cpu() for count in (1, 1, 3)]  # recorded, replayed, of beams
    for a, b in zip(found[:3], found[3:], strict=True):
        assert torch.equal(a, b)
