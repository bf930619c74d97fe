"""Log-ratios in directions of like size: what a step says lies in few of them, thousands of times apart in scale."""

import torch
from torch import Tensor, nn

__all__ = ["Whitening"]

MOST = 10.0  # standard deviations: beyond them a direction is one that the prompts it was learned from don't show
NOISE = 0.02  # a log-ratio's error in half precision; directions of less say nothing


class Whitening(nn.Module):
    """Log-ratios `[..., K]` to `rank` values of mean 0 and variance 1 at most, by their covariance over some prompts.

    Its numbers are kept as whole ones, which no storage rounds: a rounding of the large directions would drown the
    small ones.
    """

    bits: Tensor

    def __init__(self, tokens: int, rank: int) -> None:
        super().__init__()
        self.tokens, self.rank = tokens, rank
        start = torch.cat([torch.zeros(tokens, 1), torch.eye(tokens, rank)], 1)
        self.register_buffer("bits", start.view(torch.int32).clone())

    @torch.no_grad()
    def fit(self, ratios: Tensor) -> None:
        """Learn from log-ratios `[M, K]`."""
        x = ratios.double()
        mean = x.mean(0)
        x = x - mean
        values, vectors = torch.linalg.eigh(x.mT @ x / max(1, len(x) - 1))
        scale = (values[-self.rank :].clamp_min(0) + NOISE**2).rsqrt()
        table = torch.cat([mean[:, None], vectors[:, -self.rank :] * scale], 1).float()
        self.bits.copy_(table.contiguous().view(torch.int32))

    def forward(self, ratios: Tensor) -> Tensor:
        """See the class; in float32."""
        table = self.bits.view(torch.float32)
        # Products in TF32 or bfloat16 would round away the small directions.
        exact = torch.float64 if ratios.is_cuda else torch.float32
        with torch.autocast(ratios.device.type, enabled=False):
            mean, directions = table[:, 0].to(exact), table[:, 1:].to(exact)
            return ((ratios.to(exact) - mean) @ directions).float().clamp(-MOST, MOST)
