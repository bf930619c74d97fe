"""Giving a pretrained T5 the vocabulary of the embedder it has to invert.

The rows of the new embedding and output matrices are made from the rows of the T5 pieces that spell each
WordPiece token, so that hypotheses go from the decoder to the embedder as ids with no text in between.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["tokenize_as", "transfer_embeddings"]

_SPECIAL = {"[PAD]": "<pad>", "[CLS]": "<pad>", "[SEP]": "</s>", "[UNK]": "<unk>", "[MASK]": "<unk>"}


def tokenize_as(token: str, pieces: Mapping[str, int]) -> list[int]:
    """The T5 piece ids that spell one WordPiece token; a whole piece, of any casing, comes first."""
    if token in _SPECIAL:
        return [pieces[_SPECIAL[token]]]
    if token.startswith("##"):
        body, prefix = token[2:], ""
    else:
        body, prefix = token, "▁"
    forms = [prefix + body, prefix + body.capitalize(), prefix + body.upper(), body]
    for form in forms:
        if form in pieces:
            return [pieces[form]]
    return _greedy(prefix + body, pieces) or [pieces["<unk>"]]


def transfer_embeddings(
    tokens: Sequence[str], pieces: Mapping[str, int], inputs: Tensor, outputs: Tensor
) -> tuple[Tensor, Tensor]:
    """New input and output rows `[V, width]` for `tokens`, from T5's own `[32128, width]`.

    An input row is the mean of its pieces' rows; an output row leans on the first piece, the one that the
    pretrained decoder would have predicted at that place.
    """
    new_inputs = inputs.new_empty(len(tokens), inputs.shape[1])
    new_outputs = outputs.new_empty(len(tokens), outputs.shape[1])
    for row, token in enumerate(tokens):
        ids = torch.tensor(tokenize_as(token, pieces))
        new_inputs[row] = inputs[ids].mean(0)
        new_outputs[row] = (outputs[ids[0]] + outputs[ids].mean(0)) / 2
    return new_inputs, new_outputs


def _greedy(text: str, pieces: Mapping[str, int]) -> list[int]:
    ids, start = [], 0
    while start < len(text):
        for end in range(len(text), start, -1):
            if text[start:end] in pieces:
                ids.append(pieces[text[start:end]])
                break
        else:
            end = start + 1  # no piece spells this character
        start = end
    return ids
