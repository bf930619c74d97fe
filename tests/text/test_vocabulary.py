"""WordPiece tokens spelled in T5 pieces, and rows made from them."""

import torch

from unembed_text.methods.closed.vocabulary import spell, transplant

PIECES = {"<pad>": 0, "</s>": 1, "<unk>": 2, "▁the": 3, "▁Paris": 4, "ing": 5, "▁trans": 6, "form": 7, ",": 8}


def test_spell_prefers_a_whole_piece_of_any_casing() -> None:
    assert spell("the", PIECES) == [3]
    assert spell("paris", PIECES) == [4]
    assert spell("##ing", PIECES) == [5]
    assert spell(",", PIECES) == [8]


def test_spell_falls_back_to_several_pieces_then_to_unknown() -> None:
    assert spell("transform", PIECES) == [6, 7]
    assert spell("漢", PIECES) == [2]
    assert spell("[SEP]", PIECES) == [1]


def test_transplant_averages_inputs_and_leans_on_the_first_output() -> None:
    inputs = torch.arange(9.0)[:, None]
    new_inputs, new_outputs = transplant(["the", "transform"], PIECES, inputs, inputs)
    assert new_inputs.tolist() == [[3.0], [6.5]]
    assert new_outputs.tolist() == [[3.0], [6.25]]
