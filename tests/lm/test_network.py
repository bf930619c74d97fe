"""The network's parts: whitening, the vocabulary, and what absent steps may say."""

import pytest
import torch

from unembed_lm.layout import ABSENT
from unembed_lm.methods.logprobs.network import PromptNetwork
from unembed_lm.methods.logprobs.vocabulary import FIRST, SPECIAL, UNKNOWN, Vocabulary, frequent, spelt, transferred
from unembed_lm.methods.logprobs.whitening import Whitening
from unembed_lm.prompts.batches import PromptBatches

T5 = {
    "vocab_size": 24,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
}


@pytest.fixture
def network() -> PromptNetwork:
    torch.manual_seed(0)
    sizes = {"tokens": 6, "rank": 5, "steps": 3, "first": 2, "positions": 1, "hidden": 8, "vocabulary": 30}
    made = PromptNetwork(T5, tied=True, **sizes)
    made.ids.keep(torch.arange(5, 25))
    return made.eval()


def targets(network: PromptNetwork, answers: list[list[int]]) -> torch.Tensor:
    torch.manual_seed(1)
    return network.layout.pack(torch.randn(len(answers), 3, 6), torch.tensor(answers))


def test_whitened_log_ratios_have_mean_0_and_variance_1_in_directions_above_the_noise() -> None:
    draw = torch.Generator().manual_seed(0)
    scale = torch.tensor([100.0, 10.0, 1.0, 0.1, 1e-4])
    mix = torch.linalg.qr(torch.randn(8, 5, generator=draw))[0]
    ratios = torch.randn(4000, 5, generator=draw) * scale @ mix.T + 3
    made = Whitening(8, 5)
    made.fit(ratios)
    again = Whitening(8, 5)
    again.load_state_dict({name: x.clone() for name, x in made.state_dict().items()})
    found = again(ratios)
    size = found.std(0).sort().values
    assert found.mean(0).abs().max() < 0.05 and torch.allclose(size[1:], torch.ones(4), atol=0.06)
    assert size[0] < 0.05  # what is below the noise stays small
    assert again(ratios * 1e6).abs().max() <= 10
    assert not made.bits.is_floating_point()  # so that no storage rounds it


def test_a_vocabulary_leads_there_and_back() -> None:
    made = Vocabulary(10, 4)
    made.keep(torch.tensor([2, 5, 6, 9]))
    ids = torch.tensor([[5, 9, 3, ABSENT]])
    assert made.read(ids).tolist() == [[FIRST + 1, FIRST + 3, UNKNOWN, SPECIAL.pad]]
    assert made.written(made.read(ids)).tolist() == [[5, 9, ABSENT, ABSENT]]
    gaps = torch.tensor([[ABSENT, 5, ABSENT, 6], [ABSENT, ABSENT, ABSENT, ABSENT]])
    assert made.closed(gaps).tolist() == [[5, 6, ABSENT, ABSENT], [2, ABSENT, ABSENT, ABSENT]]


PIECES = {"<pad>": 0, "</s>": 1, "<unk>": 2, "▁rain": 3, "▁Write": 4, "s": 5, "rain": 6, "▁": 7, "bow": 8}


@pytest.mark.parametrize(
    ("token", "ids"),
    [
        ("Ġrain", [3]),
        ("rain", [6]),
        ("Write", [2]),
        ("ĠWrite", [4]),
        ("Ġwrite", [4]),
        ("Ġrainbows", [3, 8, 5]),
        ("Ċ", [7]),
    ],
)
def test_a_token_is_spelt_in_pieces(token, ids) -> None:
    assert spelt(token, PIECES) == ids


def test_rows_are_made_from_pieces() -> None:
    inputs, outputs = torch.randn(9, 4), torch.randn(9, 4)
    new, head = transferred(["Ġrainbows", "Ġrain"], PIECES, inputs, outputs, tied=False)
    assert new.shape == (6, 4) and torch.allclose(new[4], inputs[[3, 8, 5]].mean(0)) and torch.equal(new[5], inputs[3])
    assert torch.allclose(head[4], (outputs[3] + outputs[[3, 8, 5]].mean(0)) / 2) and torch.equal(new[2], inputs[1])
    one, other = transferred(["Ġrain"], PIECES, inputs, outputs, tied=True)
    assert one is other


def test_the_most_frequent_tokens_and_all_bytes_are_written(embedder) -> None:
    tokenizer, size = embedder.tokenizer, len(embedder.tokenizer)
    everything = frequent(tokenizer, [], size, None)
    assert not set(everything.tolist()) & set(tokenizer.all_special_ids) and len(everything) == size - 2
    rows = [[int(everything[-1])] * 3]
    some = frequent(tokenizer, rows, size, 257).tolist()
    assert some == sorted(some) and len(some) == 257 and int(everything[-1]) in some


def test_what_wasnt_observed_says_nothing(network) -> None:
    whole = targets(network, [[5, 6, 7], [5, 6, 7]])
    cut = network.layout.cut(whole, 1)
    noisy = cut.clone()
    noisy[:, 7:13] = 9.0  # log-ratios of a step without a token
    prompts = torch.tensor([[5, 6], [7, ABSENT]])
    with torch.no_grad():
        read = network.ids.read(prompts)
        losses = [network.decoder.loss(*network.encode(t, None, None), read) for t in (whole, cut, noisy)]
        corrected = [network.decoder.loss(*network.encode(t, read, whole), read) for t in (cut, noisy)]
    assert losses[1] == losses[2] != losses[0]
    assert corrected[0] == corrected[1]


def test_embeddings_of_fewer_steps_are_read_as_those_cut_short(network) -> None:
    whole = targets(network, [[5, 6, 7]])
    with torch.no_grad():
        short = network.encode(whole[:, :7], None, None)[0]
        long, mask = network.encode(network.layout.cut(whole, 1), None, None)
    assert short.shape[1] == 2 and torch.allclose(short, long[:, :2], atol=1e-5)
    assert (mask[0, 0, 0] == 0).tolist() == [True, True, False, False]


def test_a_guess_leaves_no_parameter_without_a_gradient(network) -> None:
    signals = PromptBatches([("a", [[5, 6]])], steps=3, batch_tokens=400, portions={}).batches(
        1, torch.Generator().manual_seed(0)
    )[0][:2]
    network.train()
    network(targets(network, [[5, 6, 7], [5, 6, 7]]), signals).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
