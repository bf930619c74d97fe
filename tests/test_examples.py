"""The examples: packages that stand on their own, and a script."""

import ast
import json
from importlib.metadata import EntryPoint
from itertools import islice, pairwise
from pathlib import Path

import pytest
import torch

import unembed
from unembed.registry import discovery
from unembed.testing import check_inverter, check_plugin
from unembed.training import train

EXAMPLE = Path(__file__).parents[1] / "examples/unembed_molecules"


@pytest.mark.slow
def test_the_molecules_install_and_pass_their_tests(environment, tmp_path) -> None:
    environment.install(EXAMPLE)
    rows = [json.loads(line) for line in environment.unembed("plugins", "--json", cwd=tmp_path).splitlines()]
    (found,) = (row for row in rows if row["name"] == "molecules")
    assert found["error"] is None and found["package"] == "unembed_molecules"
    assert " passed" in environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=EXAMPLE)


@pytest.mark.parametrize(
    "path",
    sorted(path for name in ("unembed_molecules", "unembed_memos") for path in EXAMPLE.with_name(name).rglob("*.py")),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_example_packages_use_public_names_only(path) -> None:
    """`import unembed`, its public names, and the public modules `unembed.testing` and `unembed.training`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "unembed":
            assert node.module in ("unembed.testing", "unembed.training")
        if isinstance(node, ast.Import):
            assert not [name.name for name in node.names if name.name.startswith("unembed.")]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "unembed":
            assert node.attr in unembed.__all__


MEMOS = EXAMPLE.with_name("unembed_memos")
SMALL = ["steps=120", "round_steps=40", "guess_steps=40", "warmup=10", "save_every=120", "evaluate_every=120"]
SMALL += ["recipe.hidden=128", "recipe.layers=1", "recipe.batch=64", "device=cpu"]


@pytest.fixture(scope="module")
def memos():
    """The package, installed for these tests; networks so small wait for a second thread."""
    point, threads = EntryPoint("memos", "unembed_memos.plugin", "unembed"), torch.get_num_threads()
    others = [one for one in discovery.entry_points(group=discovery.GROUP) if one.name != "memos"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(MEMOS)
        patch.setattr(discovery, "entry_points", lambda group: (*others, point))
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(memos, tmp_path_factory) -> unembed.Inverter:
    folder = tmp_path_factory.mktemp("memos") / "run"
    train(MEMOS / "train.toml", overrides=[*SMALL, f'output="{folder}"'])
    return unembed.load(folder / "checkpoint", device="cpu", self_test=True)


def test_a_small_training_on_memos_learns_and_correction_helps(trained) -> None:
    texts = (MEMOS / "held_out.txt").read_text().splitlines()
    guessed, corrected = (unembed.evaluate(trained, texts, steps=steps, beam=4).metrics for steps in (0, 6))
    unlearned = unembed.evaluate(fresh(trained), texts, steps=0, beam=4).metrics
    assert unlearned["similarity"] + 0.05 < guessed["similarity"] < corrected["similarity"] - 0.02


def fresh(trained: unembed.Inverter) -> unembed.Inverter:
    from unembed_memos.network import MemoNetwork
    from unembed_memos.recipe import build

    return build(MemoNetwork(hidden=128, layers=1), trained.embedder)


def test_the_memos_keep_the_contract(trained) -> None:
    check_inverter(trained, (MEMOS / "held_out.txt").read_text().splitlines()[:2])
    for subject, outcomes in check_plugin("memos", config=MEMOS / "train.toml").items():
        assert outcomes and not [outcome for outcome in outcomes if outcome.status == "failed"], subject


def test_held_out_memos_are_never_trained_on(memos) -> None:
    from unembed_memos.language import held_out
    from unembed_memos.recipe import memos as drawn

    texts = (MEMOS / "held_out.txt").read_text().splitlines()
    assert len(texts) == 64 and all(map(held_out, texts))
    shown = set(islice(drawn(0, held=False), 20_000))
    assert len(shown) > 15_000 and not any(map(held_out, shown))


@pytest.mark.slow
def test_the_plot_of_similarity_by_step_is_drawn(forked, tmp_path) -> None:
    source = EXAMPLE.with_name("similarity_by_step.py").read_text(encoding="utf-8")
    few = source.replace("]\n\n# %%", "][:3]\n\n# %%", 1)  # the longest take minutes
    assert few != source
    done = forked(few, tmp_path / "steps.png").wait()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")
    curves = [line.split(": ")[1].split() for line in done.stdout.splitlines() if " tokens: " in line]
    assert len(curves) == 3 and [curve[-1] for curve in curves] == ["1.000"] * 3
    assert all(float(a) <= float(b) for curve in curves for a, b in pairwise(curve))
