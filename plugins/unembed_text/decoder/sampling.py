"""Texts drawn from a decoder: one a row for training, and texts a little off given ones."""

import torch
from torch import Tensor

from unembed_text.decoder.decoder import Decoder

__all__ = ["PICKS", "corrupt", "gumbel_noise", "sample"]

NOISES = 64
PICKS = 32_768  # positions whose logits are held at once


@torch.no_grad()
def sample(
    decoder: Decoder,
    states: Tensor,
    mask: Tensor,
    *,
    length: int,
    temperature: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """One text a row, as ids `[R, length]` padded; `temperature` `[R]`, where 0 is greedy.

    Sampling is by the Gumbel maximum, so one vector mixes greedy and sampled rows; a few draws of the noise
    are shared out over the rows, each of which is still sampled from its own distribution.
    """
    rows, weight = len(states), decoder.lm_head.weight
    pad, end = decoder.special.pad, decoder.special.end
    cache = decoder.start(states, mask, beams=1, length=length)
    last = torch.full((rows, 1), decoder.special.start, device=states.device)
    done = torch.zeros(rows, 1, dtype=torch.bool, device=states.device)
    banned = _banned(decoder)
    first = banned.clone()
    first[end] = -torch.inf  # no empty text
    out = []
    for position in range(length):
        hidden = decoder.step(last, cache)[:, 0]
        noise = gumbel_noise((NOISES, len(weight)), states.device, generator)
        banned_now = banned if position else first
        last = decoder.layers.sample_token(hidden, weight, banned_now, temperature, noise)[:, None]
        done = done | (last == end)
        out.append(last.masked_fill(done, pad))
    return torch.cat(out, 1)


@torch.no_grad()
def corrupt(
    decoder: Decoder,
    states: Tensor,
    mask: Tensor,
    signals: Tensor,
    temperature: Tensor,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Texts a little off `signals` `[R, L]`, as a search meets them in its last rounds: `[R, L]`.

    A share of each row's tokens, from none to all, gives way to what the decoder would write there after the true
    ones, at the row's `temperature` `[R]`; every other row is also a little out of order.
    """
    pad, weight = decoder.special.pad, decoder.lm_head.weight
    device, (rows, length) = signals.device, signals.shape
    hidden = decoder.read(states, mask, signals)[:, :length].flatten(0, 1)
    banned = _banned(decoder)
    banned[decoder.special.end] = -torch.inf
    noise = gumbel_noise((NOISES, len(weight)), device, generator)
    warm = temperature.repeat_interleave(length)
    written = [
        decoder.layers.sample_token(part, weight, banned, heat, noise)
        for part, heat in zip(hidden.split(PICKS), warm.split(PICKS), strict=True)
    ]

    def uniform(columns: int) -> Tensor:
        return torch.rand(rows, columns, device=device, generator=generator)

    inside = signals != pad
    changed = inside & (uniform(length) < uniform(1))
    ids = torch.where(changed, torch.cat(written).view(rows, length), signals)
    jitter = torch.randn(rows, length, device=device, generator=generator) * uniform(1)
    jitter[::2] = 0
    order = (torch.arange(length, device=device) + jitter).masked_fill(~inside, torch.inf).argsort(1)
    return ids.gather(1, order)


def gumbel_noise(shape: tuple[int, ...], device: torch.device, generator: torch.Generator) -> Tensor:
    """Numbers whose largest, each added to a token's logit, is a sample of the tokens (Gumbel 1954)."""
    noise = torch.rand(shape, device=device, generator=generator)
    return noise.clamp_(1e-10, 1 - 1e-7).log_().neg_().log_().neg_()


def _banned(decoder: Decoder) -> Tensor:
    weight = decoder.lm_head.weight
    return torch.zeros(len(weight), device=weight.device).index_fill_(0, decoder.never, -torch.inf)
