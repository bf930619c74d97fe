"""The network that guesses and corrects: a T5 whose encoder reads embeddings and a hypothesis.

One network has both roles (Morris et al. 2023, section 4, has two): with no hypothesis the encoder reads the
target alone; with one it reads the target, the hypothesis's embedding, their difference and the hypothesis's
tokens.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config

from unembed_text.decoder.blocks import Encoder
from unembed_text.decoder.decoder import Special
from unembed_text.decoder.layers import autocast_like
from unembed_text.decoder.network import Projection, T5Network
from unembed_text.methods.closed.roughness import features

__all__ = ["InversionNetwork", "Surrogate"]


class Surrogate(Encoder):
    """The layers that tell what the black box would answer to a text, learned from what it answered in training."""

    def __init__(self, t5: T5Config, blocks: int, dimension: int) -> None:
        super().__init__(t5, blocks)
        self.head = nn.Linear(t5.d_model, dimension)


class InversionNetwork(T5Network):
    """See the module's docstring. `config` is a T5Config's dictionary with the embedder's vocabulary size.

    With `surrogate` blocks it also learns to answer as the black box does, so that a search can look at many more
    candidates than it asks the black box about.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        dimension: int,
        positions: int,
        hidden: int,
        special: Special,
        surrogate: int = 0,
    ) -> None:
        super().__init__(config, dimension=dimension, special=special, tied=False)
        self.surrogate = Surrogate(T5Config(**config), surrogate, dimension) if surrogate else None
        self.surrogate_losses: list[Tensor] = []  # of the forward passes since somebody cleared them
        self.target = Projection(dimension, hidden, positions, self.width)
        self.hypothesis = Projection(dimension, hidden, positions, self.width)
        self.difference = Projection(dimension + 1, hidden, positions, self.width)
        self.noise = nn.Linear(2, hidden, bias=False)
        nn.init.zeros_(self.noise.weight)  # as if every target were exact, until training says otherwise

    @property
    def hears_noise(self) -> bool:
        """Whether training has made anything of what it is told of noise."""
        return bool(self.noise.weight.any())

    def encode(
        self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `T5Network.encode`; `noise` `[N]` is the standard deviation of the error of a unit target's values.

        NaN is an unknown one; without `noise` all targets are exact.
        """
        unit = target.shape[-1] ** 0.5
        target = F.normalize(target, dim=-1)
        parts = [self.target(target * unit, None if noise is None else self.noise(features(noise)))]
        if hypothesis is not None and embedding is not None:
            embedding = F.normalize(embedding, dim=-1)
            gap = target - embedding
            size = gap.norm(dim=-1, keepdim=True).clamp_min(1e-4)
            parts += [
                self.hypothesis(embedding * unit),
                self.difference(torch.cat([gap / size * unit, size.log()], -1)),
                self.decoder.token_embed(hypothesis),
            ]
        return self.encoded(torch.cat([part.to(parts[0].dtype) for part in parts], 1), hypothesis)

    def forward(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None = None,
        embedding: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """See `T5Network.forward` and `encode`; with a surrogate, 1 − cosine of its answer is added."""
        loss = self.decoder.loss(*self.encode(target, hypothesis, embedding, noise), signals)
        # A gradient of each parameter at each step, if only of zeros: several processes needn't look which have none.
        unread: list[nn.Module] = [] if noise is not None else [self.noise]
        unread += [] if hypothesis is not None else [self.hypothesis, self.difference]
        if unread and torch.is_grad_enabled():
            loss = loss + 0 * sum(weight.sum() for part in unread for weight in part.parameters())
        if self.surrogate is None:
            return loss
        asked, answer = (signals, target) if hypothesis is None or embedding is None else (hypothesis, embedding)
        off = (1 - F.cosine_similarity(self.predict(asked), answer, dim=-1)).mean()
        self.surrogate_losses.append(off.detach())
        return loss + off

    def predict(self, ids: Tensor) -> Tensor:
        """What the surrogate expects the black box to answer to ids `[N, L]`: unit vectors `[N, D]` in float32."""
        if self.surrogate is None:
            raise RuntimeError("this network has no surrogate")
        inside = ids != self.special.pad
        x = autocast_like(F.embedding(ids, self.decoder.token_embed.weight.detach()))
        states = self.surrogate(x, torch.where(inside, 0.0, -1e9)[:, None, None]).float()
        mean = (states * inside[..., None]).sum(1) / inside.sum(1, keepdim=True).clamp_min(1)
        head = self.surrogate.head
        with torch.autocast(ids.device.type, enabled=False):  # small differences are what is asked for
            return F.normalize(F.linear(mean, head.weight.float(), head.bias.float()), dim=-1)
