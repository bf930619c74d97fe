"""What a method gives the trainer: its recipe, built from the `[recipe]` table of a config."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed.checkpoints import self_test
from unembed.checkpoints.manifest import read_manifest
from unembed.errors import ConfigError
from unembed.registry.opening import load_embedder, open_checkpoint
from unembed.registry.specs import Method
from unembed.testing.checks._tools import close, equal, refused
from unembed.testing.suite import check
from unembed.training.preparing import build_recipe
from unembed.training.recipe import Recipe

__all__ = ["Training"]


@dataclass(frozen=True)
class Training:
    """The subject: a method, and the table that its recipe is built from when the first check needs it."""

    method: Method
    table: Mapping[str, Any]

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, on the CPU and with seed 0."""
        return build_recipe(self.method, self.table, device="cpu", seed=0)

    def signals(self) -> Tensor:
        """One batch on the embedder's device, at most eight rows."""
        (batch,) = self.recipe.batches(1, _seeded())
        return batch[:8].to(self.recipe.embedder.device)

    def proposal(self, target: Tensor, signals: Tensor) -> Tensor:
        """A first guess by the network as it is."""
        noise = torch.Generator(target.device).manual_seed(3)
        return self.recipe.propose(target, None, None, signals, noise)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@check()
def recipe_builds(training: Training) -> None:
    """The method makes a `Recipe` from the table of the config."""
    made = training.recipe
    assert isinstance(made, Recipe), f"the method made {type(made).__name__}"


@check(recipe_builds)
def recipe_refuses_unknown_keys(training: Training) -> None:
    """A key of `[recipe]` that means nothing raises ConfigError: a misspelled option must not go unnoticed."""
    table = {**training.table, "no_such_key": 1}
    refused(
        lambda: build_recipe(training.method, table, device="cpu", seed=0), "a recipe with no_such_key", ConfigError
    )


@check(recipe_builds)
def recipe_draws_by_its_generator(training: Training) -> None:
    """`batches` returns as many as asked, drawn with the generator alone: one seed gives the same batches."""
    first, again = (training.recipe.batches(2, _seeded()) for _ in range(2))
    equal(len(first), 2, "the batches drawn")
    same = all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert same, "two draws under one seed differ"


@check(recipe_draws_by_its_generator)
def recipe_has_held_out_objects(training: Training) -> None:
    """`held_out` names one list or more of objects that the embedder takes."""
    lists = training.recipe.held_out()
    assert lists, "there are no held-out lists"
    codec = training.recipe.inverter().codec
    for name, objects in lists:
        assert len(codec.encode(objects)) > 0, f"the held-out list {name!r} is empty"


@check(recipe_draws_by_its_generator)
def recipe_proposes_one_signal_a_row(training: Training) -> None:
    """`propose` returns one signal a target, which the embedder takes, and leaves the network in training mode."""
    recipe, signals = training.recipe, training.signals()
    recipe.network.train()
    made = training.proposal(recipe.embed(signals), signals)
    equal((len(made), made.dtype), (len(signals), signals.dtype), "the rows and type of the proposals")
    equal(tuple(recipe.embed(made).shape), (len(made), recipe.embedder.dimension), "the shape of their embeddings")
    assert recipe.network.training, "the network was left in evaluation mode, so training goes on without dropout"


@check(recipe_proposes_one_signal_a_row)
def recipe_repeats_itself_under_a_seed(training: Training) -> None:
    """All randomness of a proposal comes from the generator that is passed in."""
    signals = training.signals()
    target = training.recipe.embed(signals)
    same = torch.equal(training.proposal(target, signals), training.proposal(target, signals))
    assert same, "two proposals under one seed differ"


@check(recipe_proposes_one_signal_a_row)
def recipe_learns_both_roles(training: Training) -> None:
    """The network's loss, without a hypothesis and with one, is one finite number with finite, nonzero gradients."""
    recipe, signals = training.recipe, training.signals()
    target = recipe.embed(signals)
    hypothesis = training.proposal(target, signals)
    for role, given in (("guess", ()), ("correction", (hypothesis, recipe.embed(hypothesis)))):
        recipe.network.zero_grad()
        loss = recipe.network(target, signals, *given)
        equal(loss.numel(), 1, f"the numbers in the loss of a {role}")
        assert math.isfinite(loss.item()), f"the loss of a {role} is {loss.item()}"
        assert loss.requires_grad, f"the loss of a {role} has no gradient"
        loss.backward()
        size = sum(float(p.grad.abs().sum()) for p in recipe.network.parameters() if p.grad is not None)
        assert size > 0 and math.isfinite(size), f"the gradient of a {role} adds up to {size}"
    recipe.network.zero_grad()


@check(recipe_has_held_out_objects, recipe_proposes_one_signal_a_row)
def recipe_saves_what_load_opens(training: Training) -> None:
    """A saved checkpoint opens as the inverter that was saved: with exact storage, the very same guesses."""
    recipe = training.recipe
    recipe.network.eval()
    before = recipe.inverter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "checkpoint"
        recipe.save(folder, {})
        manifest = read_manifest(folder)
        after = open_checkpoint(folder, recipe.embedder.device)
    equal(manifest.method, training.method.name, "the method in the manifest")
    equal(manifest.modality, training.method.modality, "the modality in the manifest")
    equal(after.embedder.modality, training.method.modality, "the modality of the embedder")
    target = before.embed(recipe.held_out()[0][1][:4])
    found = [inverter.hypothesizer.hypothesize(target, 1)[:, 0] for inverter in (before, after)]
    if all(entry.storage not in ("float16", "int8") for entry in manifest.tensors.values()):
        assert torch.equal(*found), "the loaded inverter guesses otherwise than the one that was saved"
        if manifest.self_test is not None:
            self_test.run(after)
    else:  # rounded weights may tip a close choice, but not the quality
        a, b = (before.embedder.similarity(target, before.embedder.embed(signals)).mean() for signals in found)
        close(a / 500, b / 500, "the similarity reached before saving and after loading, over 500,")
    recipe.network.train()


@check(recipe_saves_what_load_opens)
def method_opens_with_another_embedder(training: Training) -> None:
    """An embedder that is given to `open` is the one that the inverter asks, in place of the manifest's."""
    recipe = training.recipe
    recipe.network.eval()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "checkpoint"
        recipe.save(folder, {})
        given = load_embedder(read_manifest(folder).embedder.name, device=recipe.embedder.device)
        opened = open_checkpoint(folder, recipe.embedder.device, given)
    recipe.network.train()
    before = given.queries
    opened.embed(recipe.held_out()[0][1][:2])
    assert given.queries > before, "the embedder that was given to `open` isn't asked"
