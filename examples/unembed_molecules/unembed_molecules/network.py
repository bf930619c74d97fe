"""A small transformer that writes SELFIES tokens while it looks at the fingerprint's set bits."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unembed_molecules.codec import TOKENS, WIDTH
from unembed_molecules.embedder import BITS

__all__ = ["MoleculeNetwork"]

END = 0  # the padding that follows a molecule is its end
START = len(TOKENS) + 1
LENGTH = 56  # the most tokens that it writes
MOST = 7  # larger counts, and differences of counts, look alike


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention by plain products: in bf16 on a CPU the fused one's backward pass is slower."""
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return scores.masked_fill(~mask, -1e4).softmax(-1).to(values.dtype) @ values


class Block(nn.Module):
    """One decoder layer: the tokens so far, then the memory, then a feed-forward network."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(3))
        self.own, self.own_out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.ask, self.ask_out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.memory = nn.Linear(width, 2 * width, bias=False)
        self.inner = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def split(self, x: Tensor) -> Tensor:
        """`[N, L, width]` to `[N, heads, L, width / heads]`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def remember(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the memory, the same for every token."""
        keys, values = self.memory(memory).chunk(2, -1)
        return self.split(keys), self.split(values)

    def forward(
        self, x: Tensor, seen: tuple[Tensor, Tensor], mask: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """New states, and the keys and values of all tokens so far."""
        query, keys, values = (self.split(part) for part in self.own(self.norms[0](x)).chunk(3, -1))
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        causal = torch.ones(x.shape[1], keys.shape[2], dtype=torch.bool, device=x.device).tril(
            keys.shape[2] - x.shape[1]
        )
        told = attend(query, keys, values, causal)
        x = x + self.own_out(told.transpose(1, 2).flatten(2))
        # Several rows may write from one memory: to it they are more questions, not more rows.
        question = self.ask(self.norms[1](x)).reshape(len(mask), -1, x.shape[-1])
        told = attend(self.split(question), *seen, mask[:, None, None])
        x = x + self.ask_out(told.transpose(1, 2).reshape(x.shape))
        return x + self.inner(self.norms[2](x)), (keys, values)


class MoleculeNetwork(nn.Module):
    """Both roles in one: without a hypothesis it guesses, with one it corrects.

    The memory is one state for each bit that is set in the target or in the hypothesis's fingerprint (which bit, how
    often, how often too few) and one for each token of the hypothesis.
    """

    def __init__(self, *, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.bits = nn.Embedding(BITS, width)
        self.wanted = nn.Embedding(MOST + 1, width)
        self.missing = nn.Embedding(2 * MOST + 2, width)  # the last: nothing to compare with
        # The last three tokens, by how long ago: rings and branches are spelled by several.
        self.tokens = nn.ModuleList(nn.Embedding(len(TOKENS) + 2, width) for _ in range(3))
        self.places = nn.Embedding(WIDTH + 1, width)
        self.draft = nn.Conv1d(width, width, 5, padding=2)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, len(TOKENS) + 1)
        for table in (self.bits, self.wanted, self.missing, *self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.3)

    def remember(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """The memory `[N, M, width]` of targets `[N, 2048]`, and which of it counts `[N, M]`."""
        known = target if embedding is None else torch.maximum(target, embedding)
        size = max(1, int((known > 0).sum(1).max()))
        top, bit = (known > 0).to(torch.uint8).topk(size)
        wanted = target.gather(1, bit)
        missing = torch.full_like(bit, 2 * MOST + 1)
        if embedding is not None:
            missing = (wanted - embedding.gather(1, bit)).clamp(-MOST, MOST).long() + MOST
        memory = self.bits(bit) + self.wanted(wanted.clamp(0, MOST).long()) + self.missing(missing)
        mask = top > 0
        if hypothesis is None:
            return memory, mask
        written = hypothesis[:, : _longest(hypothesis)]
        states = self.tokens[0](written) + self.places.weight[: written.shape[1]]
        states = states + F.gelu(self.draft(states.transpose(1, 2)).transpose(1, 2))
        return torch.cat([memory, states], 1), torch.cat([mask, written > 0], 1)

    def forward(
        self, target: Tensor, signals: Tensor, hypothesis: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        """Mean cross-entropy a token, the end included."""
        memory, mask = self.remember(target, hypothesis, embedding)
        signals = F.pad(signals, (0, 1))[:, : _longest(signals) + 1]
        x = self._read(F.pad(signals[:, :-1], (3, 0), value=START), 0)
        for block in self.blocks:
            x, _ = block(x, block.remember(memory), mask, None)
        scores = self.head(self.norm(x))
        counts = F.pad(signals[:, :-1], (1, 0), value=1) > 0  # up to the first padding
        return F.cross_entropy(scores[counts], signals[counts])

    def _read(self, given: Tensor, place: int) -> Tensor:
        """States of the tokens `given[:, 2:]`, the first at `place`, each from itself and the two before it."""
        length = given.shape[1] - 2
        states = self.places.weight[place : place + length]
        for ago, table in enumerate(self.tokens):
            states = states + table(given[:, 2 - ago : 2 - ago + length])
        return states

    @torch.no_grad()
    def write(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        temperature: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Sample `count` molecules a target at `temperature` `[count]`, 0 the likeliest token: `[N, count, 128]`."""
        count, rows = len(temperature), len(target) * len(temperature)
        memory, mask = self.remember(target, hypothesis, embedding)
        seen = [block.remember(memory) for block in self.blocks]
        past: list[tuple[Tensor, Tensor] | None] = [None] * len(self.blocks)
        recent = torch.full((rows, 3), START, device=target.device)
        warmth = temperature.repeat(len(target))[:, None]
        written = torch.zeros(rows, WIDTH, dtype=torch.long, device=target.device)
        done = torch.zeros(rows, 1, dtype=torch.bool, device=target.device)
        for place in range(LENGTH):
            x = self._read(recent, place)
            for index, block in enumerate(self.blocks):
                x, past[index] = block(x, seen[index], mask, past[index])
            scores = self.head(self.norm(x[:, 0])).float()
            if place == 0:
                scores[:, END] = -torch.inf  # a molecule has an atom
            noise = torch.rand(scores.shape, device=scores.device, generator=generator)
            gumbel = -torch.log(-torch.log(noise.clamp(1e-9, 1 - 1e-6)))  # sampling by the Gumbel maximum
            token = (scores + warmth * gumbel).argmax(1, keepdim=True).masked_fill(done, END)
            written[:, place : place + 1] = token
            recent = torch.cat([recent[:, 1:], token], 1)
            done |= token == END
            if done.all():
                break
        return written.unflatten(0, (-1, count))


def _longest(signals: Tensor) -> int:
    return max(1, int((signals > 0).sum(1).max()))
