"""The network's own forward passes agree with transformers', and caching changes nothing."""

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

import unembed_text.attention as attention
from unembed_text.generation import WARMTH, beam_search, sample
from unembed_text.network import InversionNetwork, Special

T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "vocab_size": 60,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.1,
    "is_encoder_decoder": True,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}


@pytest.fixture(scope="module")
def network() -> InversionNetwork:
    torch.manual_seed(0)
    special = Special(pad=0, start=1, end=2)
    return InversionNetwork(T5, dimension=12, positions=3, hidden=16, special=special).eval()


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    hypothesis = torch.randint(3, 60, (5, 7), generator=draw)
    hypothesis[0, 4:] = 0
    signals = torch.randint(3, 60, (5, 6), generator=draw)
    signals[1, 3:] = 0
    target, embedding = torch.randn(2, 5, 12, generator=draw)
    return {"target": target, "signals": signals, "hypothesis": hypothesis, "embedding": embedding}


def peer_logits(network, states, mask, ids):
    attention = (mask[:, 0, 0] == 0).long()
    out = network.t5(encoder_outputs=BaseModelOutput(states), attention_mask=attention, decoder_input_ids=ids)
    out.logits[..., network.never] = -torch.inf
    return out.logits.log_softmax(-1)


@torch.no_grad()
def test_encode_equals_transformers(network, batch) -> None:
    states, mask = network.encode(batch["target"], None, None)
    assert not mask.any()
    unit = torch.nn.functional.normalize(batch["target"], dim=-1) * 12**0.5
    peer = network.t5.encoder(inputs_embeds=network.target(unit)).last_hidden_state
    assert torch.allclose(states, peer, atol=1e-5)


@torch.no_grad()
def test_loss_equals_transformers(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    ids = torch.cat([torch.ones(5, 1, dtype=torch.long), batch["signals"]], 1)
    lengths = (batch["signals"] != 0).sum(1)
    terms = []
    logits = network.t5(
        encoder_outputs=BaseModelOutput(states),
        attention_mask=(mask[:, 0, 0] == 0).long(),
        decoder_input_ids=ids,
    ).logits.log_softmax(-1)
    for row, length in enumerate(lengths.tolist()):
        labels = [*batch["signals"][row, :length].tolist(), 2]
        terms += [-logits[row, place, label] for place, label in enumerate(labels)]
    assert torch.allclose(network(**batch), torch.stack(terms).mean(), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
def test_the_path_for_training_computes_the_same(network, batch, aligned, monkeypatch) -> None:
    plain = network(**batch)
    if aligned:  # as on a GPU
        attend = attention.attend

        def rounded(query, *rest):
            return attend(*attention.aligned(query, *rest))[:, :, : query.shape[2]]

        monkeypatch.setattr(attention, "attend", rounded)
    monkeypatch.setattr(network, "dropout", 0.0)
    try:
        trained = network.train()(**batch)
    finally:
        network.eval()
    assert torch.allclose(trained, plain, atol=1e-5)


@torch.no_grad()
def test_step_by_step_equals_transformers(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    ids = torch.cat([torch.ones(5, 1, dtype=torch.long), batch["signals"]], 1)
    cache = network.start(states, mask, beams=1, length=7)
    hidden = torch.stack([network.step(ids[:, i : i + 1], cache)[:, 0] for i in range(7)], 1)
    ours = network.logits(hidden).log_softmax(-1)
    peer = peer_logits(network, states, mask, ids)
    seen = torch.isfinite(peer)
    assert torch.allclose(ours[seen], peer[seen], atol=1e-4)


@torch.no_grad()
def test_sample_at_zero_temperature_is_the_one_beam_search(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    generator = torch.Generator().manual_seed(0)
    greedy = sample(network, states, mask, length=8, temperature=torch.zeros(5), generator=generator)
    assert torch.equal(greedy, beam_search(network, states, mask, beams=1, length=8)[:, 0])


def literal_beams(network, states, mask, beams: int, length: int) -> list[list[int]]:
    """Beam search on Python lists, without a cache, for one row."""
    live: list[tuple[float, list[int], bool]] = [(0.0, [], False)]
    for position in range(length):
        grown = []
        for score, ids, done in live:
            if done:
                grown.append((score, ids, True))
                continue
            logits = peer_logits(network, states, mask, torch.tensor([[1, *ids]]))[0, -1]
            for token, value in enumerate(logits.tolist()):
                if token == 2 and position > 0:
                    grown.append((score + value, ids, True))
                elif token not in (0, 1, 2):
                    grown.append((score + value, [*ids, token], False))
        live = sorted(grown, key=lambda beam: -beam[0])[:beams]
    return [ids for _, ids, _ in live]


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_beam_search_equals_a_literal_one(network, batch, beams) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    found = beam_search(network, states, mask, beams=beams, length=5)
    for row in range(5):
        literal = literal_beams(network, states[row : row + 1], mask[row : row + 1], beams, 5)
        assert [[x for x in ids.tolist() if x] for ids in found[row]] == literal


@torch.no_grad()
def test_a_row_alone_equals_the_row_in_a_batch(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    together = beam_search(network, states, mask, beams=4, length=6)
    for row in range(5):
        alone = beam_search(network, states[row : row + 1], mask[row : row + 1], beams=4, length=6)
        assert torch.equal(together[row : row + 1], alone)


@torch.no_grad()
def test_half_of_a_sampled_search_is_drawn_and_half_is_beam_search(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])

    def search(seed: int, **options: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return beam_search(network, states, mask, length=6, sampled=True, generator=generator, **options)

    found = search(0, beams=9)
    assert torch.equal(found[:, :5], beam_search(network, states, mask, beams=5, length=6))
    assert torch.equal(found, search(0, beams=9)) and not torch.equal(found[:, 5:], search(1, beams=9)[:, 5:])
    assert not torch.isin(found, torch.tensor([1, 2])).any()
    ended = (found == 0).int()
    assert (ended.diff(dim=-1) >= 0).all() and ended[:, 5:].sum() > 0 and (found[..., 0] != 0).all()


@torch.no_grad()
def test_drawn_tokens_follow_the_network_at_their_temperature(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    logits = peer_logits(network, states, mask, torch.ones(5, 1, dtype=torch.long))[:, 0]
    logits[:, 2] = -torch.inf  # no empty text
    seen = torch.zeros(5, 60)
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        found = beam_search(network, states, mask, beams=128, length=1, sampled=True, generator=generator)
        seen += torch.nn.functional.one_hot(found[:, 64:, 0], 60).sum(1)

    def off(temperature: float) -> torch.Tensor:
        return (seen / 6400 - (logits / temperature).softmax(-1)).abs().sum(1) / 2

    assert off(WARMTH).max() < 0.08 and (off(1.0) > off(WARMTH)).all() and (off(0.4) > off(WARMTH)).all()
