"""A model that runs here: what its embeddings say, and that batches and padding leave them alone."""

import pytest
import torch

import unembed
from unembed.errors import InputError
from unembed_lm.embedders.base import choose_tokens
from unembed_lm.embedders.llama import LlamaPasses
from unembed_lm.embedders.passes import TransformerPasses
from unembed_lm.layout import ABSENT, joined, parted

TEXTS = ["write a poem", "sing the sea in Python please", "a", "explain rain please"]


@torch.no_grad()
def by_hand(embedder, text: str) -> tuple[list[int], list[torch.Tensor]]:
    """The likeliest continuation and the log-ratios before each token, one whole pass a token."""
    tokenizer = embedder.tokenizer
    messages = [{"role": "user", "content": text}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    answer, ratios = [], []
    for _ in range(embedder.layout.steps):
        log = embedder.model(torch.tensor([ids + answer])).logits[0, -1].log_softmax(-1)
        chosen = log[list(embedder.tokens)]
        ratios.append(chosen - chosen.mean())
        answer.append(int(log.argmax()))
        if answer[-1] == tokenizer.eos_token_id:
            break
    return answer, ratios


def test_embeddings_are_centred_log_ratios_along_the_greedy_continuation(embedder) -> None:
    ratios, answers = embedder.layout.unpack(embedder.embed(embedder.codec.encode(TEXTS)))
    for text, steps, answer in zip(TEXTS, ratios, answers.tolist(), strict=True):
        wanted, those = by_hand(embedder, text)
        assert [i for i in answer if i != ABSENT] == wanted
        assert torch.allclose(steps[: len(those)], torch.stack(those), atol=1e-4)
        assert not steps[len(those) :].any()


def test_rows_dont_depend_on_their_batch_or_on_padding(embedder) -> None:
    signals = embedder.codec.encode(TEXTS)
    together, alone = embedder.embed(signals), torch.cat([embedder.embed(row[None]) for row in signals])
    assert torch.allclose(together, alone, atol=1e-4)
    prompts, continuation = parted(signals, 4)
    wider = joined(torch.nn.functional.pad(prompts, (0, 5), value=ABSENT), continuation)
    assert torch.allclose(embedder.embed(wider), together, atol=1e-4)


def test_the_models_own_continuation_forced_onto_its_prompt_changes_nothing(embedder) -> None:
    signals = embedder.codec.encode(TEXTS)
    own = embedder.embed(signals)
    _, answers = embedder.layout.unpack(own)
    forced = embedder.embed(joined(parted(signals, 4)[0], answers))
    assert torch.allclose(forced, own, atol=1e-4)
    assert torch.allclose(embedder.similarity(own, forced), torch.ones(4), atol=1e-5)


def test_a_continuation_forced_onto_another_prompt_keeps_its_steps_aligned(embedder) -> None:
    signals = embedder.codec.encode(TEXTS)
    _, answers = embedder.layout.unpack(embedder.embed(signals))
    ratios, kept = embedder.layout.unpack(embedder.embed(joined(parted(signals, 4)[0], answers.roll(1, 0))))
    assert torch.equal(kept, answers.roll(1, 0))
    text, answer = TEXTS[1], answers[0][answers[0] != ABSENT].tolist()
    messages = [{"role": "user", "content": text}]
    ids = embedder.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    with torch.no_grad():
        log = embedder.model(torch.tensor([ids + answer])).logits[0].log_softmax(-1)
    wanted = log[len(ids) - 1 : len(ids) - 1 + len(answer)][:, list(embedder.tokens)]
    assert torch.allclose(ratios[1, : len(answer)], wanted - wanted.mean(-1, keepdim=True), atol=1e-4)


def test_a_step_after_continuations_part_counts_nothing(embedder) -> None:
    layout = embedder.layout
    ratios = torch.randn(1, 4, layout.tokens)
    a = layout.pack(ratios, torch.tensor([[5, 6, 7, 8]]))
    b = layout.pack(ratios, torch.tensor([[5, 9, 7, 8]]))
    assert layout.similarity(a, a).item() == pytest.approx(1)
    assert layout.similarity(a, b).item() == pytest.approx(0.5)  # the first two steps; their tokens came after them
    assert layout.text_similarity(a, b).item() == pytest.approx(0.25)
    assert layout.similarity(layout.cut(a, 2), b).item() == pytest.approx(1)


@pytest.mark.parametrize("cached", [True, False])
def test_any_model_of_transformers_gives_the_same_by_its_own_passes(embedder, cached) -> None:
    signals = embedder.codec.encode(TEXTS)
    wanted = embedder.embed(signals)
    assert isinstance(embedder.passes, LlamaPasses)
    embedder.passes = TransformerPasses(embedder.model, embedder.passes.before)
    assert embedder.passes.prefix is not None
    drawn = [list(embedder.drawn(20, 5, 1.0, torch.Generator().manual_seed(1)))]
    if not cached:  # as for a model with sliding windows or states
        embedder.passes.prefix, embedder.passes.begins = None, False
        with pytest.raises(InputError, match="plain attention"):
            next(embedder.drawn(2, 1, 1.0, torch.Generator()))
    assert torch.allclose(embedder.embed(signals), wanted, atol=1e-4)
    forced = joined(parted(signals, 4)[0], embedder.layout.unpack(wanted)[1])
    assert torch.allclose(embedder.embed(forced), wanted, atol=1e-4)
    embedder.passes = LlamaPasses(embedder.model, embedder.passes.before)
    drawn.append(list(embedder.drawn(20, 5, 1.0, torch.Generator().manual_seed(1))))
    assert all(map(torch.equal, *drawn))


@pytest.mark.slow
def test_compiled_layers_give_the_same_for_any_number_of_rows_and_tokens(embedder) -> None:
    signals = embedder.codec.encode([*TEXTS, "sing rain", "draw an old song in Python"])
    wanted = embedder.embed(signals)
    forced = joined(parted(signals, 4)[0], embedder.layout.unpack(wanted)[1])
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    embedder.passes.compile(backend="eager")  # traced as for a GPU, and run as it was written
    for rows in (6, 5, 4, 3, 2):
        assert torch.allclose(embedder.embed(signals[:rows]), wanted[:rows], atol=1e-4)
        assert torch.allclose(embedder.embed(forced[:rows]), wanted[:rows], atol=1e-4)
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] <= 8  # of two functions: not one for each shape


def test_half_precision_moves_embeddings_a_little(embedder) -> None:
    signals = embedder.codec.encode(TEXTS)
    own = embedder.embed(signals)
    forced = joined(parted(signals, 4)[0], embedder.layout.unpack(own)[1])
    assert (embedder.similarity(own, embedder.halved().embed(forced)) > 0.99).all()


def test_without_forcing_hypotheses_have_their_own_continuation(model) -> None:
    full = unembed.load_embedder(f"lm:{model}?steps=4&width=16&access=full", device="cpu")
    text = unembed.load_embedder(f"lm:{model}?steps=4&width=16&access=text", device="cpu")
    assert not full.forces and not text.forces
    ratios, answers = text.layout.unpack(text.embed(text.codec.encode(TEXTS)))
    assert not ratios.any()
    assert torch.equal(answers, full.layout.unpack(full.embed(full.codec.encode(TEXTS)))[1])


def test_a_prompt_that_spells_a_special_token_is_text(embedder) -> None:
    (signal,) = embedder.codec.encode(["rain<|end|>"])
    assert embedder.tokenizer.eos_token_id not in signal.tolist()
    assert embedder.codec.decode(signal[None]) == ["rain<|end|>"]


def test_tokens_are_chosen_once(embedder) -> None:
    assert len(embedder.tokens) == 132 and embedder.tokens == tuple(choose_tokens(132, len(embedder.tokenizer), 0))
    assert choose_tokens(5, 100, 1) != choose_tokens(5, 100, 2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("steps=0", "steps"),
        ("steps=4&stpes=4", "the options of lm are steps, width, tokens, seed, access, template"),
        ("access=biased", "biased is for servers"),
        ("tokens=100000", "tokens: 100000 are more than the"),
        ("width=500", "longer than the 128 it reads"),
    ],
)
def test_wrong_options_are_one_line(model, options, told) -> None:
    with pytest.raises(InputError, match=told) as caught:
        unembed.load_embedder(f"lm:{model}?{options}", device="cpu")
    assert "\n" not in str(caught.value)


def test_a_model_without_a_chat_template_is_refused_but_for_plain_prompts(publish_model) -> None:
    folder = publish_model(template=None)
    with pytest.raises(InputError, match=r"no chat template; for a base model add template=plain"):
        unembed.load_embedder(f"lm:{folder}", device="cpu")
    plain = unembed.load_embedder(f"lm:{folder}?template=plain&steps=2&width=16", device="cpu")
    vectors = plain.embed(plain.codec.encode(TEXTS))
    alone = torch.cat([plain.embed(row[None]) for row in plain.codec.encode(TEXTS)])
    assert torch.allclose(vectors, alone, atol=1e-4)


@pytest.mark.parametrize("name", ["lm:", "lm:/no/such/folder", "lm:/no/such.gguf", "smollm2:tiny"])
def test_what_is_no_model_is_said_so(name) -> None:
    with pytest.raises(InputError):
        unembed.load_embedder(name, device="cpu")
