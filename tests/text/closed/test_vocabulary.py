"""WordPiece tokens spelled in T5 pieces, and rows made from them."""

import torch

from unembed_text.methods.closed.vocabulary import tokenize_as, transfer_embeddings

PIECES = {"<pad>": 0, "</s>": 1, "<unk>": 2, "▁the": 3, "▁Paris": 4, "ing": 5, "▁trans": 6, "form": 7, ",": 8}


def test_tokenize_as_prefers_a_whole_piece_of_any_casing() -> None:
    assert tokenize_as("the", PIECES) == [3]
    assert tokenize_as("paris", PIECES) == [4]
    assert tokenize_as("##ing", PIECES) == [5]
    assert tokenize_as(",", PIECES) == [8]


def test_tokenize_as_falls_back_to_several_pieces_then_to_unknown() -> None:
    assert tokenize_as("transform", PIECES) == [6, 7]
    assert tokenize_as("漢", PIECES) == [2]
    assert tokenize_as("[SEP]", PIECES) == [1]


def test_transfer_embeddings_averages_inputs_and_leans_on_the_first_output() -> None:
    inputs = torch.arange(9.0)[:, None]
    new_inputs, new_outputs = transfer_embeddings(["the", "transform"], PIECES, inputs, inputs)
    assert new_inputs.tolist() == [[3.0], [6.5]]
    assert new_outputs.tolist() == [[3.0], [6.25]]
