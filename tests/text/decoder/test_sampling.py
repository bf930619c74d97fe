"""Picking the likeliest next tokens, and texts near a given one."""

import pytest
import torch

from unembed_text.decoder.beams import expand_beams
from unembed_text.decoder.decoder import Special
from unembed_text.decoder.sampling import corrupt
from unembed_text.methods.closed.network import InversionNetwork

T5 = {
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 16,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 4,
    "vocab_size": 40,
    "feed_forward_proj": "gated-gelu",
}


@pytest.mark.parametrize("beams", [1, 5])
@pytest.mark.parametrize("vocabulary", [60, 256, 300, 1411, 30522])
def test_expanded_beams_equal_sorting_everything(vocabulary, beams) -> None:
    draw = torch.Generator().manual_seed(vocabulary)
    logits = torch.randn(6, beams, vocabulary, generator=draw)
    score = torch.randn(6, beams, generator=draw)
    done = torch.zeros(6, beams, dtype=torch.bool)
    done[1, 0] = done[2, :] = done[3, -1] = True
    base = (score - logits.logsumexp(-1)).masked_fill(done, -torch.inf)
    value, parent, token = expand_beams(logits, base, score.masked_fill(~done, -torch.inf), count=8)
    every = score[..., None] + logits.log_softmax(-1)
    every[done] = -torch.inf
    every[..., 0] = torch.where(done, score, every[..., 0])
    expected = every.flatten(1).topk(8)
    real = expected.values > -torch.inf
    assert torch.allclose(value[real], expected.values[real], atol=1e-5) and not torch.isfinite(value[~real]).any()
    assert torch.equal((parent * vocabulary + token)[real], expected.indices[real])


@torch.no_grad()
def test_corrupted_texts_keep_their_length_and_share_of_tokens() -> None:
    torch.manual_seed(0)
    network = InversionNetwork(T5, dimension=6, positions=2, hidden=8, special=Special(pad=0, start=1, end=2)).eval()
    rows = 64
    signals = torch.randint(3, 40, (rows, 9))
    signals[::2, 6:] = 0
    states, mask = network.encode(torch.randn(rows, 6), None, None)
    generator = torch.Generator().manual_seed(0)
    near = corrupt(network.decoder, states, mask, signals, torch.rand(rows), generator=generator)
    assert torch.equal(near != 0, signals != 0)
    assert not torch.isin(near, torch.tensor([1, 2])).any()
    kept = torch.tensor([len(set(a.tolist()) & set(b.tolist())) for a, b in zip(near, signals, strict=True)])
    assert 0.4 < (kept / torch.tensor([len(set(row.tolist())) for row in signals])).mean() < 0.9
    order_kept = (near == signals).all(1)
    assert 0 < order_kept.sum() < rows
