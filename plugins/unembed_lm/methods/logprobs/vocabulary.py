"""The tokens that the network writes: some or all of the model's, and how a pretrained T5 is given them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unembed_lm.layout import ABSENT
from unembed_text.toolkit import Special

__all__ = ["SPECIAL", "UNKNOWN", "Vocabulary", "frequent", "spelt", "transferred"]

SPECIAL = Special(pad=0, start=1, end=2)
UNKNOWN, FIRST = 3, 4  # any token of the model that isn't written; the first one that is
BYTES = {i: chr(i) for i in (*range(33, 127), *range(161, 173), *range(174, 256))}
BYTES |= {byte: chr(256 + place) for place, byte in enumerate(i for i in range(256) if i not in BYTES)}
FROM_BYTES = {
    character: byte for byte, character in BYTES.items()
}  # as byte-level BPE spells them (Radford et al. 2019)


class Vocabulary(nn.Module):
    """The model's ids as the network's and back; a model's id that the network lacks becomes `UNKNOWN`."""

    kept: Tensor
    to_network: Tensor

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.arange(count))
        self.register_buffer("to_network", torch.zeros(size + 1, dtype=torch.long), persistent=False)
        self.size = size

    def keep(self, ids: Tensor) -> None:
        """Write these ids `[V]` of the model, as many as `kept` holds."""
        self.kept.copy_(ids)
        self.index()

    def index(self) -> None:
        """Make the way from the model's ids after `kept` was set."""
        table = torch.full((self.size + 1,), UNKNOWN, device=self.kept.device)
        table[self.kept + 1] = torch.arange(len(self.kept), device=table.device) + FIRST
        table[0] = SPECIAL.pad
        self.to_network = table

    def read(self, ids: Tensor) -> Tensor:
        """The model's ids, padded with `ABSENT`, as the network's."""
        return self.to_network[ids + 1]

    def written(self, ids: Tensor) -> Tensor:
        """The network's ids as the model's, padded with `ABSENT`."""
        own = self.kept[(ids - FIRST).clamp_min(0)]
        return torch.where(ids >= FIRST, own, ABSENT)

    def closed(self, prompts: Tensor) -> Tensor:
        """Prompts `[..., L]` of the model's ids without gaps, where the network copied what it can't write.

        One that is empty becomes the first token that can be written: a black box takes no empty prompt.
        """
        gaps = prompts == ABSENT
        prompts = prompts.gather(-1, gaps.long().argsort(dim=-1, stable=True))
        first = torch.where(gaps.all(-1, keepdim=True), self.kept[0], prompts[..., :1])
        return torch.cat([first, prompts[..., 1:]], -1)


def frequent(tokenizer: Any, rows: Sequence[Sequence[int]], size: int, count: int | None) -> Tensor:
    """The ids that the network writes, in order: all but special ones, or the `count` most frequent in `rows`.

    Those that spell a single byte are always among them.
    """
    special = set(tokenizer.all_special_ids) | {
        index for index, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    ids = torch.tensor([index for index in range(min(size, len(tokenizer))) if index not in special])
    if count is None or count >= len(ids):
        return ids
    seen = torch.bincount(torch.tensor([i for row in rows for i in row], dtype=torch.long), minlength=size)[:size]
    score = seen[ids].double()
    single = torch.tensor([len(token) == 1 for token in tokenizer.convert_ids_to_tokens(ids.tolist())])
    best = score.masked_fill(single, torch.inf).argsort(descending=True, stable=True)[:count]
    return ids[best].sort().values


def spelt(token: str, pieces: Mapping[str, int]) -> list[int]:
    """The T5 piece ids that spell a token of a byte-level BPE, or of a vocabulary with `▁` for a space."""
    if all(character in FROM_BYTES for character in token):
        text = bytes(FROM_BYTES[character] for character in token).decode("utf-8", errors="ignore")
    else:
        text = token.replace("▁", " ")
    text = text.replace("\n", " ").replace("\t", " ")
    space = text.startswith(" ")
    body = text.strip(" ")
    if not body:
        return [pieces["▁"] if "▁" in pieces else pieces["<unk>"]]
    start = "▁" if space else ""
    for form in (start + body, start + body.lower(), start + body.capitalize(), body):
        if form in pieces:
            return [pieces[form]]
    found, place, whole = [], 0, start + body
    while place < len(whole):
        end = next((end for end in range(len(whole), place, -1) if whole[place:end] in pieces), None)
        if end is not None:
            found.append(pieces[whole[place:end]])
        place = end or place + 1  # no piece spells this character
    return found or [pieces["<unk>"]]


def transferred(
    tokens: Sequence[str], pieces: Mapping[str, int], inputs: Tensor, outputs: Tensor, *, tied: bool
) -> tuple[Tensor, Tensor]:
    """Input and output rows `[4 + V, width]` for the network's special ids and `tokens`, from T5's own.

    An input row is the mean of its pieces' rows; an output row leans on the first piece. Where the two are `tied`, both
    are the input's.
    """
    end, pad, unknown = (pieces.get(name, 0) for name in ("</s>", "<pad>", "<unk>"))
    rows = [[pad], [pad], [end], [unknown], *(spelt(token, pieces) for token in tokens)]
    flat = torch.tensor([piece for row in rows for piece in row])
    ends = torch.tensor([len(row) for row in rows]).cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    new = nn.functional.embedding_bag(flat, inputs, starts, mode="mean")
    if tied:
        return new, new
    mean = nn.functional.embedding_bag(flat, outputs, starts, mode="mean")
    return new, (outputs[flat[starts]] + mean) / 2
