"""Two small networks that write a text from a vector in one pass, trained from nothing on the pairs."""

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, LAYERS, POSITIONS, BATCH = 256, 4, 4, 8, 32


class Decoder(nn.Module):
    """What both have in common: token embeddings, a projection of the vector to positions, greedy writing."""

    def __init__(self, tokenizer: Any, dimension: int, longest: int) -> None:
        super().__init__()
        self.tokenizer, self.longest = tokenizer, longest
        self.start, self.end, self.pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
        self.tokens = nn.Embedding(len(tokenizer), WIDTH)
        self.places = nn.Embedding(longest + 2, WIDTH)
        self.project = nn.Sequential(
            nn.Linear(dimension, WIDTH * 4), nn.GELU(), nn.Linear(WIDTH * 4, WIDTH * POSITIONS)
        )

    def positions(self, vectors: Tensor) -> Tensor:
        unit = F.normalize(vectors, dim=-1) * vectors.shape[1] ** 0.5
        return self.project(unit).unflatten(1, (POSITIONS, WIDTH))

    def embedded(self, ids: Tensor) -> Tensor:
        return self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))

    def scores(self, states: Tensor) -> Tensor:
        return states @ self.tokens.weight.T / WIDTH**0.5

    def fit(
        self, vectors: Tensor, texts: list[str], seconds: float, *, most: int = 10**9, rate: float = 3e-4, seed: int = 0
    ) -> int:
        """Train for so long, or `most` steps; returns the steps taken."""
        torch.manual_seed(seed)
        rows = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        ids = torch.full((len(rows), self.longest + 2), self.pad)
        for place, row in enumerate(rows):
            cut = [self.start, *row[: self.longest], self.end]
            ids[place, : len(cut)] = torch.tensor(cut)
        optimizer = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=0.01)
        steps, end = 0, time.monotonic() + seconds
        self.train()
        while time.monotonic() < end and steps < most:
            for chosen in torch.randperm(len(ids)).split(BATCH):
                logits = self(vectors[chosen], ids[chosen, :-1])
                loss = F.cross_entropy(logits.flatten(0, 1), ids[chosen, 1:].flatten(), ignore_index=self.pad)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                steps += 1
                if time.monotonic() >= end or steps >= most:
                    break
        self.eval()
        return steps

    @torch.no_grad()
    def guess(self, vectors: Tensor) -> list[str]:
        ids = torch.full((len(vectors), 1), self.start)
        for _ in range(self.longest):
            ids = torch.cat([ids, self(vectors, ids)[:, -1:].argmax(-1)], 1)
        texts = []
        for row in ids[:, 1:].tolist():
            written = row[: row.index(self.end)] if self.end in row else row
            texts.append(self.tokenizer.decode(written, skip_special_tokens=True))
        return texts


class PrefixDecoder(Decoder):
    """GEIA's idea (Li et al. 2023): a causal language model whose prefix is made from the vector."""

    def __init__(self, tokenizer: Any, dimension: int, longest: int) -> None:
        super().__init__(tokenizer, dimension, longest)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)

    def forward(self, vectors: Tensor, ids: Tensor) -> Tensor:
        x = torch.cat([self.positions(vectors), self.embedded(ids)], 1)
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.scores(self.layers(x, mask=mask, is_causal=True)[:, POSITIONS:])


class EncoderDecoder(Decoder):
    """The hypothesizer of vec2text (Morris et al. 2023, section 4) at a small size."""

    def __init__(self, tokenizer: Any, dimension: int, longest: int) -> None:
        super().__init__(tokenizer, dimension, longest)
        sizes = (WIDTH, HEADS, 4 * WIDTH, 0.1, "gelu")
        layer = nn.TransformerEncoderLayer(*sizes, batch_first=True, norm_first=True)
        encoder = nn.TransformerEncoder(layer, LAYERS // 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.layers = nn.Transformer(
            WIDTH, HEADS, 0, LAYERS // 2, *sizes[2:], custom_encoder=encoder, batch_first=True, norm_first=True
        )

    def forward(self, vectors: Tensor, ids: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        states = self.layers(self.positions(vectors), self.embedded(ids), tgt_mask=mask, tgt_is_causal=True)
        return self.scores(states)
