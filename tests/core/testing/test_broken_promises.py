"""One deliberately broken variant for each rule of the contract: its check fails, and no other does."""

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from itertools import count

import pytest
import torch
from torch.nn import functional as F

from unembed.contract.proposers import Corrector, Editor
from unembed.contract.similarity import cosine
from unembed.engine.rows import rank_within
from unembed.inversion.inverter import Inverter
from unembed.registry import discovery, opening
from unembed.registry.specs import Method
from unembed.testing.checks import INVERTER, PLUGIN, TRAINING
from unembed.testing.checks.training import Training
from unembed.testing.suite import Suite
from unembed.testing.toy import LetterAccuracy, OneLetter, ToyNetwork, ToyRecipe, open_checkpoint, toy_inverter, words

WORDS = sorted(set(words(8, seed=9)))


def failed(suite: Suite) -> set[str]:
    return {outcome.check for outcome in suite.outcomes() if outcome.status == "failed"}


class Together(Editor):
    """The toy's corrections, and the changes of the first of them at once."""

    def __init__(self, corrector: Corrector) -> None:
        self.corrector = corrector

    def _correct(self, target, hypothesis, embedding, count, generator):
        few = self.corrector.correct(target, hypothesis, embedding, min(count, 72))  # there are no more
        return few.repeat(1, -(-count // few.shape[1]), 1)[:, :count]

    def _combine(self, target, hypothesis, embedding, edits, answers, count):
        found = [edits[:, 0]]
        for number in range(1, count):
            edit = edits[:, number % edits.shape[1]]
            found.append(torch.where(edit == hypothesis, found[-1], edit))
        return torch.stack(found, 1)


def toy() -> Inverter:
    """The toy with an editor."""
    inverter = toy_inverter()
    inverter.editor = Together(OneLetter(inverter.embedder.table))
    return inverter


def patched(part: str, method: str, change: Callable) -> Callable[[], Inverter]:
    """The toy with one method of one part (or of itself) given to `change` with its arguments."""

    def make() -> Inverter:
        inverter = toy()
        owner = getattr(inverter, part) if part else inverter
        inner = getattr(owner, method)
        setattr(owner, method, lambda *args, **kwargs: change(inner, *args, **kwargs))
        return inverter

    return make


def asking(gradients: bool, part: str = "corrector") -> Callable[[], Inverter]:
    """The toy with a corrector or editor that asks the embedder behind the loop's back."""

    def make() -> Inverter:
        inverter = toy()
        asker = getattr(inverter, part)
        inner = asker._correct

        def correct(target, hypothesis, *rest):
            with torch.set_grad_enabled(gradients):
                (inverter.embedder._embed if gradients else inverter.embedder.embed)(hypothesis)
            return inner(target, hypothesis, *rest)

        asker._correct = correct
        return inverter

    return make


def uncounted(inner, signals):
    vectors = inner(signals)
    inner.__self__.queries = 0
    return vectors


def sorting(inner, signals):
    order = sorted(range(len(signals)), key=lambda row: signals[row].tolist())
    return inner(signals[order])


def meddling(inner, signals):
    signals[:, 0] = 1
    return inner(signals)


def overwriting(inner, target, *rest):
    made = inner(target, *rest)
    target.zero_()
    return made


def random_words(inner, target, *rest):
    return torch.randint(1, 9, (len(target), rest[-2], 8))


def unreadable(inner, signals):
    return [word if word in WORDS else "?" for word in inner(signals)]


def every_other(inner, vectors, *, steps, calls=count(), **options):  # noqa: B008 (one count for all calls)
    return inner(vectors, steps=steps * (next(calls) % 2), **options)


def more_than_asked(inner, vectors, max_queries=None, **options):
    return inner(vectors, max_queries=max_queries and max_queries + 50, **options)


def backwards(inner, vectors, **options):
    found = inner(vectors, **options)
    return replace(found, trace=found.trace and found.trace[::-1])


class Inverted(LetterAccuracy):
    def aggregate(self, sums):
        return -super().aggregate(sums)


def with_member(part: str, name: str, value: object) -> Callable[[], Inverter]:
    def make() -> Inverter:
        inverter = toy_inverter()
        setattr(getattr(inverter, part) if part else inverter, name, value)
        return inverter

    return make


SIMILARITY = "similarity_is_one_at_most_and_for_equals"
GUESS_SHAPE = "hypothesizer_returns_count_signals_a_target"
EDITOR = "editor_keeps_what_a_corrector_promises"
INVERTERS = [
    ("codec_gives_rows_of_one_shape", patched("codec", "_encode", lambda f, x: f(x)[:, : max(map(len, x))])),
    ("codec_keeps_what_it_decoded", patched("codec", "_decode", lambda f, x: [word[::-1] for word in f(x)])),
    ("codec_takes_no_signals", patched("codec", "decode", lambda f, x: f(x) or ["a"])),
    ("codec_refuses_nothing_at_all", patched("codec", "encode", lambda f, x: f(x or ["a"])[: len(x)])),
    (
        "codec_refuses_another_modality",
        patched("codec", "_encode", lambda f, x: f([word if isinstance(word, str) else "a" for word in x])),
    ),
    ("codec_refuses_another_modality", patched("codec", "_encode", lambda f, x: f([word[:8] for word in x]))),
    ("codec_cuts_sequences_to_their_first_elements", patched("codec", "_first", lambda f, x, n: f(x, n).roll(1, 1))),
    ("embedder_returns_its_declared_width", patched("embedder", "_embed", lambda f, x: f(x)[:, :-1])),
    ("embedder_stays_on_its_device", patched("embedder", "_embed", lambda f, x: f(x).to("meta"))),
    ("embedder_returns_finite_numbers", patched("embedder", "_embed", lambda f, x: f(x) / 0)),
    ("embedder_returns_more_than_zeros", patched("embedder", "_embed", lambda f, x: f(x) * (x[:, :1] > 2))),
    ("embedder_counts_its_queries", patched("embedder", "embed", uncounted)),
    ("embedder_repeats_itself", patched("embedder", "_embed", lambda f, x: F.normalize(f(x) + torch.rand(24), dim=1))),
    (
        "embedder_treats_a_row_alone_as_in_a_batch",
        patched("embedder", "_embed", lambda f, x: F.normalize(f(x) + len(x), dim=1)),
    ),
    ("embedder_treats_a_row_alone_as_in_a_batch", patched("embedder", "_embed", sorting)),
    ("embedder_takes_an_empty_batch", patched("embedder", "embed", lambda f, x: f(x) if len(x) else torch.empty(0, 1))),
    ("embedder_leaves_its_input_alone", patched("embedder", "_embed", meddling)),
    ("embedder_is_normalized_if_it_says_so", patched("embedder", "_embed", lambda f, x: f(x) * 2)),
    (SIMILARITY, with_member("embedder", "similarity", lambda a, b: -cosine(a, b))),
    (
        "similarity_is_one_at_most_and_for_equals",
        with_member("embedder", "similarity", lambda a, b: 1 + (a != b).sum(1)),
    ),
    ("codec_has_probes_that_tell_apart", with_member("codec", "probes", ("a", "a"))),
    (
        GUESS_SHAPE,
        patched("hypothesizer", "_hypothesize", lambda f, *x: f(*x).float()),
    ),
    (
        GUESS_SHAPE,
        patched("hypothesizer", "_hypothesize", lambda f, t, n, g: f(t, n + 1, g)),
    ),
    ("hypothesizer_stays_on_its_device", patched("hypothesizer", "_hypothesize", lambda f, *x: f(*x).to("meta"))),
    ("hypothesizer_repeats_itself_under_a_seed", patched("hypothesizer", "_hypothesize", random_words)),
    ("hypothesizer_leaves_its_input_alone", patched("hypothesizer", "_hypothesize", overwriting)),
    ("corrector_returns_count_signals_a_hypothesis", patched("corrector", "_correct", lambda f, *x: f(*x)[..., :4])),
    ("corrector_stays_on_its_device", patched("corrector", "_correct", lambda f, *x: f(*x).to("meta"))),
    ("corrector_repeats_itself_under_a_seed", patched("corrector", "_correct", random_words)),
    ("corrector_leaves_its_input_alone", patched("corrector", "_correct", overwriting)),
    ("codec_reads_back_what_was_proposed", patched("codec", "_decode", unreadable)),
    (EDITOR, patched("editor", "_correct", lambda f, *x: f(*x).float())),
    (EDITOR, patched("editor", "_correct", random_words)),
    (EDITOR, patched("editor", "_combine", lambda f, *x: f(*x).to("meta"))),
    (EDITOR, patched("editor", "_combine", lambda f, *x: f(*x[:-1], 3))),
    (EDITOR, patched("editor", "_combine", overwriting)),
    ("inverter_asks_without_gradients", asking(gradients=True)),
    ("inverter_counts_every_query", asking(gradients=False)),
    ("inverter_counts_every_query", asking(gradients=False, part="editor")),
    ("inverter_keeps_to_its_budget", patched("", "invert", more_than_asked)),
    (
        "inverter_works_with_no_steps",
        patched("", "invert", lambda f, x, steps, **more: f(x, steps=steps + 1, **more)),
    ),
    ("inverter_never_gets_worse_with_more_steps", patched("", "invert", backwards)),
    ("inverter_repeats_itself_under_a_seed", patched("", "invert", every_other)),
    (
        "inverter_reports_the_similarity_of_what_it_returns",
        patched("", "invert", lambda f, x, **more: replace(found := f(x, **more), similarity=found.similarity / 2)),
    ),
    ("inverter_refuses_vectors_that_are_none", patched("", "_checked", lambda f, x: torch.atleast_2d(x).nan_to_num())),
    ("metrics_like_perfection_best", with_member("", "metrics", {"inverted": Inverted()})),
]


@pytest.mark.parametrize(("check", "make"), INVERTERS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(INVERTERS)])
def test_a_broken_inverter_fails_its_check_alone(check, make) -> None:
    assert failed(Suite(INVERTER, lambda: (make(), WORDS))) == {check}


def test_a_loop_that_embeds_a_signal_twice_is_caught(monkeypatch) -> None:
    monkeypatch.setattr("unembed.engine.rows.Seen.add_new", lambda self, owner, hashed, left: forgetful(owner, left))
    monkeypatch.setattr("unembed.engine.black_box.distinct", lambda key: (torch.arange(len(key)),) * 2)
    assert failed(Suite(INVERTER, lambda: (toy(), WORDS))) == {"inverter_embeds_a_signal_once"}


def forgetful(owner, left):
    rows = torch.arange(len(owner))
    return rows[rank_within(owner) < left[owner]]


GOOD = """
import unembed
@unembed.hookimpl
def register_inverters():
    return [unembed.InverterSpec("{name}", "{summary}", lambda device: make(device))]
def make(device):
    from unembed.testing.toy import toy_inverter
    return toy_inverter(device)
"""
FINE = GOOD.format(name="a", summary="s")
METHOD = """
import unembed
@unembed.hookimpl
def register_methods():
    return [unembed.Method("m", "smell", "s", print)]
"""
PLUGINS = [
    ("plugin_loads", "import no_such_library", "no_such_library"),
    ("plugin_loads", GOOD.format(name="minilm", summary="a clash"), "offered by both unknown \\(broken\\) and unembed"),
    (
        "plugin_loads",
        GOOD.replace("_inverters", "_invertors"),
        "register_invertors.*the hooks are register_",
    ),
    ("plugin_offers_something", "", "offers nothing"),
    ("plugin_offers_something", GOOD.format(name="a", summary=" "), "no summary"),
    ("plugin_offers_something", GOOD.format(name="a:b", summary="s"), "colon"),
    ("plugin_builds_its_inverters", FINE.replace(": make(device)", ": 3"), "int"),
    ("plugin_builds_its_inverters", FINE.replace(": make(device)", ": 1 / 0"), "Zero"),
    ("plugin_builds_its_inverters", FINE.replace("make(device))", "make(device), dimension=9)"), "24, not 9"),
    ("plugin_builds_its_inverters", FINE.replace(", lambda device: make(device)", ""), "neither `load` nor"),
    ("plugin_methods_have_a_modality", METHOD, "'smell'"),
    ("plugin_loads_nothing_heavy", FINE + "import torch", "torch"),
]


@pytest.mark.parametrize(("check", "code", "told"), PLUGINS, ids=[f"{row[0]}-{i}" for i, row in enumerate(PLUGINS)])
def test_a_broken_plugin_fails_its_check_alone(check, code, told, tmp_path, monkeypatch, install) -> None:
    name = f"broken_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    install(EntryPoint(name="broken", value=name, group="unembed"))
    suite = Suite(PLUGIN, lambda: (discovery.plugin("broken"),))
    assert failed(suite) == {check}
    with pytest.raises(AssertionError, match=told):
        suite.require(None)
    assert discovery.plugin("text").inverters and discovery.modality("text").name == "text"


class Unseeded(ToyRecipe):
    def batches(self, count, generator):
        return super().batches(count, torch.Generator().manual_seed(torch.seed() % 2**31))


class Unmeasured(ToyRecipe):
    def held_out(self):
        return []


class Resting(ToyRecipe):
    def propose(self, *args):
        self.network.eval()
        return super().propose(*args)


class Wavering(ToyRecipe):
    def propose(self, target, *args):
        return torch.randint(1, 9, (len(target), 8))


class Deaf(ToyNetwork):
    def forward(self, *args):
        return super().forward(*args).detach()


class Unlearning(ToyRecipe):
    def __init__(self, table):
        super().__init__(table)
        self.network = Deaf(self.options.hidden)


def stubborn(folder, manifest, device, embedder):
    return open_checkpoint(folder, manifest, device, None)


class Forgetful(ToyRecipe):
    def save(self, *args):
        learned, self.network = self.network, ToyNetwork(self.options.hidden)
        super().save(*args)
        self.network = learned


def lenient(table):
    return ToyRecipe({key: table[key] for key in ("device", "seed")})


def crashing(table):
    raise RuntimeError("no data")


RECIPES = [
    ("recipe_builds", crashing),
    ("recipe_builds", dict),
    ("recipe_refuses_unknown_keys", lenient),
    ("recipe_draws_by_its_generator", Unseeded),
    ("recipe_has_held_out_objects", Unmeasured),
    ("recipe_proposes_one_signal_a_row", Resting),
    ("recipe_repeats_itself_under_a_seed", Wavering),
    ("recipe_learns_both_roles", Unlearning),
    ("recipe_saves_what_load_opens", Forgetful),
    ("method_opens_with_another_embedder", ToyRecipe),
]


@pytest.mark.parametrize(("check", "recipe"), RECIPES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(RECIPES)])
def test_a_broken_recipe_fails_its_check_alone(check, recipe, toy_plugin, monkeypatch) -> None:
    method = Method("toy", "toy", "", stubborn if recipe is ToyRecipe else open_checkpoint, recipe)
    monkeypatch.setattr(opening, "method", lambda name: method)
    assert failed(Suite(TRAINING, lambda: (Training(method, {}),))) == {check}


def test_every_rule_has_a_broken_variant() -> None:
    broken = {row[0] for row in [*INVERTERS, *PLUGINS, *RECIPES]} | {"inverter_embeds_a_signal_once"}
    assert broken == {check.name for check in [*INVERTER, *PLUGIN, *TRAINING]}
