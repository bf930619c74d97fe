"""The network's own forward passes agree with transformers', and caching changes nothing."""

import dataclasses
from functools import cache

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

import unembed_text.decoder.attention as attention
from unembed_text.decoder import layers
from unembed_text.decoder.beams import decode
from unembed_text.decoder.convert import rename_t5
from unembed_text.decoder.decoder import Special
from unembed_text.decoder.sampling import sample
from unembed_text.methods.closed.network import InversionNetwork
from unembed_text.methods.closed.proposers import BROAD, NetworkCorrector
from unembed_text.methods.closed.scoring import TEMPERATURE, LogProbability

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


@cache
def peer(network: InversionNetwork) -> T5ForConditionalGeneration:
    """transformers' T5 with the weights of a network."""
    config = T5Config(**network.config)
    config.tie_word_embeddings = config.scale_decoder_outputs = False
    made = T5ForConditionalGeneration(config).eval()
    made.set_input_embeddings(made.shared)
    made.lm_head.weight = torch.nn.Parameter(torch.empty(config.vocab_size, config.d_model))
    own, theirs = network.state_dict(), rename_t5({name: name for name in made.state_dict()})
    _, unexpected = made.load_state_dict({name: own[ours] for ours, name in theirs.items()}, strict=False)
    assert not unexpected and set(own) - set(theirs) == {name for name in own if name.split(".")[0] in PROJECTIONS}
    return made


PROJECTIONS = ("target", "hypothesis", "difference", "noise")


def beam_search(network, states, mask, *, beams: int, length: int, sampled: bool = False) -> torch.Tensor:
    return decode(network.decoder, states, mask, LogProbability(sampled), beams=beams, length=length)


def peer_logits(network, states, mask, ids):
    attention = (mask[:, 0, 0] == 0).long()
    out = peer(network)(encoder_outputs=BaseModelOutput(states), attention_mask=attention, decoder_input_ids=ids)
    out.logits[..., network.decoder.never] = -torch.inf
    return out.logits.log_softmax(-1)


@torch.no_grad()
def test_encode_equals_transformers(network, batch) -> None:
    states, mask = network.encode(batch["target"], None, None)
    assert not mask.any()
    unit = torch.nn.functional.normalize(batch["target"], dim=-1) * 12**0.5
    wanted = peer(network).encoder(inputs_embeds=network.target(unit)).last_hidden_state
    assert torch.allclose(states, wanted, atol=1e-5)


@torch.no_grad()
def test_no_compiled_part_is_called_to_do_nothing(network, batch, monkeypatch) -> None:
    # torch gives up compiling a function that does nothing at its first call
    seeds = []
    noted = dataclasses.replace(layers.Layers(), drop=lambda x, rate, seed: seeds.append(seed) or x)
    for half in (network.encoder, network.decoder):
        monkeypatch.setattr(half, "layers", noted)
    network(**batch)
    assert not seeds
    network.train()
    network(**batch)
    network.eval()
    assert len(seeds) == 2 and None not in seeds  # of the encoder's inputs and of the decoder's


@torch.no_grad()
def test_loss_equals_transformers(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    ids = torch.cat([torch.ones(5, 1, dtype=torch.long), batch["signals"]], 1)
    lengths = (batch["signals"] != 0).sum(1)
    terms = []
    logits = peer(network)(
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
    for half in (network.encoder, network.decoder):
        monkeypatch.setattr(half, "dropout", 0.0)
    try:
        trained = network.train()(**batch)
    finally:
        network.eval()
    assert torch.allclose(trained, plain, atol=1e-5)


@torch.no_grad()
def test_sums_written_in_place_change_nothing_else(network, batch, monkeypatch) -> None:
    given = {name: part.clone() for name, part in batch.items()}

    def results() -> list[torch.Tensor]:
        states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
        kept = states.clone(), mask.clone()
        read = network.decoder.read(states, mask, batch["signals"])
        cache = network.decoder.start(states, mask, beams=1, length=3)
        steps = [network.decoder.step(batch["signals"][:, i : i + 1], cache) for i in range(3)]
        assert torch.equal(states, kept[0]) and torch.equal(mask, kept[1])
        return [states, read, *steps]

    plain = results()
    asked = []
    monkeypatch.setattr(layers, "_adds_in_place", lambda *rows: asked.append(rows) or True)  # as on a GPU
    for found, wanted in zip(results(), plain, strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)
    assert asked and all(torch.equal(batch[name], part) for name, part in given.items())


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(5, 1, 1, 33), (1, 3, 1, 33)])
def test_attention_of_one_query_is_its_formula(dtype, shape) -> None:
    torch.manual_seed(0)
    query, (key, value) = torch.randn(5, 3, 1, 16).to(dtype), torch.randn(2, 5, 3, 40, 16).to(dtype)[..., :33, :]
    bias = torch.randn(shape)
    bias[..., 25:] = -1e9
    scores = query.double() @ key.double().transpose(2, 3) + bias.double()
    wanted = scores.softmax(-1) @ value.double()
    found = attention.attend(query, key, value, bias)
    assert found.dtype == dtype
    assert (found.double() - wanted).norm() < {torch.bfloat16: 1e-2}.get(dtype, 1e-6) * wanted.norm()
    assert attention.attend(query, key, value, torch.full(shape, -1e9)).isfinite().all()


@torch.no_grad()
def test_step_by_step_equals_transformers(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    ids = torch.cat([torch.ones(5, 1, dtype=torch.long), batch["signals"]], 1)
    cache = network.decoder.start(states, mask, beams=1, length=7)
    hidden = torch.stack([network.decoder.step(ids[:, i : i + 1], cache)[:, 0] for i in range(7)], 1)
    ours = network.decoder.logits(hidden).log_softmax(-1)
    wanted = peer_logits(network, states, mask, ids)
    seen = torch.isfinite(wanted)
    assert torch.allclose(ours[seen], wanted[seen], atol=1e-4)


@torch.no_grad()
def test_sample_at_zero_temperature_is_the_one_beam_search(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    generator = torch.Generator().manual_seed(0)
    greedy = sample(network.decoder, states, mask, length=8, temperature=torch.zeros(5), generator=generator)
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
    found = beam_search(network, states, mask, beams=65, length=6, sampled=True)
    assert torch.equal(found[:, :33], beam_search(network, states, mask, beams=33, length=6))
    assert not torch.isin(found, torch.tensor([1, 2])).any()
    ended = (found == 0).int()
    assert (ended.diff(dim=-1) >= 0).all() and ended[:, 33:].sum() > 0 and (found[..., 0] != 0).all()
    known = [{tuple(ids.tolist()) for ids in row[:33]} for row in found]
    drawn = [[tuple(ids.tolist()) for ids in row[33:]] for row in found]
    assert all(len(set(texts) - beams) > 5 for texts, beams in zip(drawn, known, strict=True))
    alone = beam_search(network, states[2:3], mask[2:3], beams=65, length=6, sampled=True)
    assert torch.equal(alone, found[2:3])


def test_many_corrections_are_half_samples_and_few_are_none(network, batch) -> None:
    corrector = NetworkCorrector(network, width=8, length=8)
    given = batch["target"], batch["hypothesis"], batch["embedding"]
    states, mask = network.encode(*given)
    for count, sampled in ((BROAD - 1, False), (BROAD, True)):
        expected = beam_search(network, states, mask, beams=count, length=8, sampled=sampled)
        assert torch.equal(corrector.correct(*given, count), expected)


@torch.no_grad()
def test_drawn_tokens_follow_the_network_at_their_temperature(network, batch) -> None:
    states, mask = network.encode(batch["target"], batch["hypothesis"], batch["embedding"])
    states, mask = states[:2], mask[:2]
    logits = peer_logits(network, states, mask, torch.ones(2, 1, dtype=torch.long))[:, 0]
    logits[:, 2] = -torch.inf  # no empty text
    found = beam_search(network, states, mask, beams=2048, length=2, sampled=True)[:, 1024:]
    seen = torch.nn.functional.one_hot(found[..., 0], 60).sum(1) / 1024

    def off(temperature: float) -> torch.Tensor:
        return (seen - (logits / temperature).softmax(-1)).abs().sum(1) / 2

    assert off(TEMPERATURE).max() < 0.08 and (off(1.0) > off(TEMPERATURE)).all() and (off(0.4) > off(TEMPERATURE)).all()
    # The second token by the first: of those that begin with the most frequent one.
    row, token = 0, int(seen[0].argmax())
    second = found[row, found[row, :, 0] == token, 1]
    wanted = peer_logits(network, states[row : row + 1], mask[row : row + 1], torch.tensor([[1, token]]))[0, -1]
    wanted = (wanted / TEMPERATURE).softmax(-1)
    wanted[0], wanted[2] = wanted[2].clone(), 0  # an end is written as padding
    assert (torch.bincount(second, minlength=60) / len(second) - wanted).abs().sum() / 2 < 0.35


@pytest.mark.parametrize("sampled", [False, True])
@torch.no_grad()
def test_a_late_count_of_rows_changes_no_search(network, batch, sampled, monkeypatch, request) -> None:
    states = network.encode(batch["target"], None, None)
    logits = network.decoder.logits

    def ending(hidden: torch.Tensor) -> torch.Tensor:
        found = logits(hidden)
        found[..., 2] += 8
        return found

    monkeypatch.setattr(network.decoder, "logits", ending)
    wanted = beam_search(network, *states, beams=4, length=60, sampled=sampled)
    lengths = (wanted != 0).any(1).sum(1).tolist()
    assert len(set(lengths)) > 1 and max(lengths) < 60  # rows end, one after the other
    request.getfixturevalue("counted_late")
    assert torch.equal(beam_search(network, *states, beams=4, length=60, sampled=sampled), wanted)


def test_noise_is_told_once_training_has_learned_what_it_means(network, batch) -> None:
    noise = torch.tensor([0.0, 0.01, torch.nan, 0.02, 0.0])
    given = batch["target"], batch["hypothesis"], batch["embedding"]
    with torch.no_grad():
        plain, *_ = network.encode(*given)
        assert torch.equal(network.encode(*given, noise)[0], plain)
        network.noise.weight.normal_()
        told = network.encode(*given, noise)[0]
        network.noise.weight.zero_()
    same = [torch.equal(a, b) for a, b in zip(told, plain, strict=True)]
    assert same == [True, False, False, False, True]


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("corrected", [False, True])
def test_a_loss_has_a_gradient_for_every_parameter(network, batch, told, corrected) -> None:
    given = batch if corrected else {name: batch[name] for name in ("target", "signals")}
    loss = network(**given, noise=torch.full((5,), 0.01) if told else None)
    network.zero_grad()
    loss.backward()
    assert all(weight.grad is not None for weight in network.parameters())
    with torch.no_grad():
        assert torch.isclose(loss, network(**given))
