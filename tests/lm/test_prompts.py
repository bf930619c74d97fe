"""Prompts to train on: kept apart from tests, drawn in batches, filled in, written by the model."""

from itertools import islice

import pytest
import torch

import unembed
from unembed.errors import InputError
from unembed_lm.layout import ABSENT, parted
from unembed_lm.prompts import writing
from unembed_lm.prompts.apart import HeldPrompts
from unembed_lm.prompts.batches import PromptBatches, read_prompts
from unembed_lm.prompts.templates import filled_templates
from unembed_lm.prompts.writing import sample_prompts, written_prompts

HELD = HeldPrompts(["Write a haiku about rain.", "List the first eight prime numbers in order of their size, please"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write a HAIKU, about rain", True),
        ("write a haiku about rain today", False),
        ("now: list the first eight prime numbers in order", True),
        ("list the first eight prime numbers in ORDER of it", True),
        ("the first eight prime numbers in order by size", False),
        ("", False),
    ],
)
def test_prompts_that_share_a_run_of_eight_words_are_found(text, found) -> None:
    assert HELD.overlap(text) is found


@pytest.mark.reference
def test_a_few_training_prompts_share_a_run_with_the_tests(reference) -> None:
    """A pangram and an alphabet, mostly: `apart` keeps them from being trained on."""
    folder = reference / "data" / "prompts"
    names = ("test", "test-system")
    held = HeldPrompts(text for name in names for text in unembed.read_passages(folder / f"{name}.parquet"))
    assert sum(map(held.overlap, unembed.read_passages(folder / "train.parquet"))) == 13
    assert all(map(held.overlap, unembed.read_passages(folder / "test.parquet")[:50]))


def test_prompts_to_train_on_are_kept_apart_from_tests(embedder, tmp_path) -> None:
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("write a poem\nSing the sea!\ndraw rain\n" + "sing " * 40)
    test.write_text("sing the sea\n")
    ((name, rows),) = read_prompts([train], embedder.tokenizer, longest=16, apart=[test])
    assert name == "train" and embedder.tokenizer.batch_decode(rows) == ["write a poem", "draw rain"]
    with pytest.raises(InputError, match="no prompt of up to 1 tokens"):
        read_prompts([train], embedder.tokenizer, longest=1)


def test_batches_hold_whole_prompts_of_like_length_and_keep_portions() -> None:
    rows = [("a", [[1] * n for n in (2, 3, 9, 12)] * 5), ("b", [[2] * n for n in (4, 5)] * 50)]
    made = PromptBatches(rows, steps=3, batch_tokens=2000, portions={"a": 0.75})
    batches = made.batches(60, torch.Generator().manual_seed(0))
    prompts = [parted(batch, 3)[0] for batch in batches]
    assert all((parted(batch, 3)[1] == ABSENT).all() for batch in batches)
    assert {part.shape[1] for part in prompts} == {5, 12}
    assert all(((part != ABSENT).sum(1) >= (2 if part.shape[1] == 5 else 9)).all() for part in prompts)
    first = torch.cat([part[:, 0] for part in prompts])
    assert (first == 1).float().mean() == pytest.approx(0.75, abs=0.08)
    again = made.batches(60, torch.Generator().manual_seed(0))
    assert all(map(torch.equal, batches, again))


def test_templates_are_filled_in_the_same_way_for_a_seed() -> None:
    texts = list(islice(filled_templates(1), 200))
    assert texts == list(islice(filled_templates(1), 200)) != list(islice(filled_templates(2), 200))
    assert len(set(texts)) > 150 and not any("{" in text for text in texts)


def test_prompts_are_sampled_from_the_users_turn(embedder) -> None:
    """Each token's frequency is what the model gives it at its place."""
    draw = torch.Generator().manual_seed(0)
    first = torch.cat([next(embedder.drawn(2000, 1, 1.0, draw)) for _ in range(5)])
    before = torch.tensor([embedder.frame.before])
    with torch.no_grad():
        wanted = embedder.model(before).logits[0, -1].softmax(-1)
    found = torch.bincount(first, minlength=len(wanted)) / len(first)
    assert (found - wanted).abs().max() < 0.03
    (alone,) = list(embedder.drawn(50, 2, 1e-4, draw))[1:]
    with torch.no_grad():
        ids = torch.cat([before, embedder.model(before).logits[:, -1:].argmax(-1)], 1)
        assert (alone == embedder.model(ids).logits[0, -1].argmax()).all()


def test_written_prompts_end(embedder) -> None:
    ids = sample_prompts(embedder, 64, longest=6, temperature=1.0, generator=torch.Generator().manual_seed(0))
    assert ids.shape == (64, 6) and (ids != embedder.tokenizer.eos_token_id).all()
    sizes = (ids != ABSENT).sum(1)
    assert ((ids != ABSENT).long().cumprod(1).sum(1) == sizes).all() and (sizes == 0).any()


def test_written_prompts_are_texts_of_words(embedder, monkeypatch) -> None:
    drawn = parted(embedder.codec.encode(["write a poem", "poem", " sing\nthe sea "]), 4)[0]
    drawn = torch.cat([drawn, torch.full_like(drawn[:1], ABSENT)])
    broken = drawn[:1].clone()
    broken[0, 1] = embedder.tokenizer.convert_tokens_to_ids("\u0122")  # a byte that is no text alone
    monkeypatch.setattr(writing, "sample_prompts", lambda *_, **__: torch.cat([broken, drawn]))
    draw = torch.Generator()
    texts = islice(written_prompts(embedder, rows=4, longest=30, temperature=1.0, generator=draw), 3)
    assert list(texts) == ["write a poem", "sing\nthe sea", "write a poem"]
