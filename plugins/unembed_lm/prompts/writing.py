"""Prompts that a model writes itself, sampled from its bare user turn."""

from collections.abc import Iterator

import torch
from torch import Tensor

from unembed_lm.embedders.local import LocalModel
from unembed_lm.layout import ABSENT

__all__ = ["sample_prompts", "written_prompts"]


@torch.no_grad()
def sample_prompts(
    model: LocalModel, rows: int, *, longest: int, temperature: float, generator: torch.Generator
) -> Tensor:
    """Ids `[rows, longest]`, padded with `ABSENT`, of what the model would say in a user's place.

    Rows that haven't ended after `longest` tokens are padding alone. All are as long at each step: there is no padding
    to attend to.
    """
    ids = torch.full((rows, longest + 1), ABSENT, device=model.device)
    done = torch.zeros(rows, dtype=torch.bool, device=model.device)
    for step, token in enumerate(model.drawn(rows, longest + 1, temperature, generator)):
        done |= torch.isin(token, model.ends)
        ids[:, step] = token.masked_fill(done, ABSENT)
        if step % 8 == 7 and done.all():
            break
    return ids[:, :longest].masked_fill(~done[:, None], ABSENT)


def written_prompts(
    model: LocalModel, *, rows: int, longest: int, temperature: float, generator: torch.Generator
) -> Iterator[str]:
    """Prompts without end, as texts of two words or more."""
    while True:
        drawn = sample_prompts(model, rows, longest=longest, temperature=temperature, generator=generator)
        ended = [[i for i in row if i != ABSENT] for row in drawn.tolist()]
        for text in model.tokenizer.batch_decode([row for row in ended if row]):
            text = text.strip()
            if len(text.split()) > 1 and "�" not in text:
                yield text
