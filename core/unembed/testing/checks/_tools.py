"""What several checks share: comparing, refusing, the states of a search, and the spy on a black box."""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from unembed.contract.embedder import Embedder
from unembed.engine.effort import Effort
from unembed.engine.moves import Move
from unembed.inversion.inverter import Inverter

__all__ = ["Spy", "close", "corrections", "equal", "generator", "guesses", "light", "refused", "state"]

FEW = 4  # candidates that a move asks for in a check


class Spy:
    """Sees what reaches an embedder's black box within a `with`: the rows, and whether gradients were on."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.rows: list[Tensor] = []
        self.gradients = False

    def __enter__(self) -> "Spy":
        self._own = vars(self.embedder).get("_embed")
        inner = self.embedder._embed

        def watched(signals: Tensor) -> Tensor:
            self.rows += list(signals.detach().clone())
            self.gradients |= torch.is_grad_enabled() or signals.requires_grad
            return inner(signals)

        vars(self.embedder)["_embed"] = watched
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is None:
            del vars(self.embedder)["_embed"]
        else:
            vars(self.embedder)["_embed"] = self._own


def generator(inverter: Inverter) -> torch.Generator:
    """Randomness as the loop gives it: the same at every call."""
    return torch.Generator(inverter.embedder.device).manual_seed(11)


def light(inverter: Inverter, effort: str) -> Effort:
    """A named effort whose moves ask for four candidates at most: checks look at which move asks what, not how much."""
    found = inverter.settings(effort, max_queries=1000)  # given, since some efforts are only for models that run here
    return replace(found, start=_light(found.start), moves=tuple(map(_light, found.moves)))


def _light(move: Move) -> Move:
    if not is_dataclass(move):
        return move
    fewer: dict[str, Any] = {}
    for name in {field.name for field in fields(move)}:
        value = getattr(move, name)
        if isinstance(value, Move):
            fewer[name] = _light(value)
        elif name in ("count", "combinations") and isinstance(value, int):
            fewer[name] = min(value, FEW)
    return replace(move, **fewer)


def guesses(inverter: Inverter, objects: Sequence[Any], count: int) -> Tensor:
    """First guesses for the embeddings of `objects`."""
    return inverter.hypothesizer.hypothesize(inverter.embed(objects), count, generator(inverter))


def state(inverter: Inverter, objects: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """What a corrector is given in its first round: targets, hypotheses and their embeddings."""
    target = inverter.embed(objects)
    hypothesis = inverter.hypothesizer.hypothesize(target, 1, generator(inverter))[:, 0]
    return target, hypothesis, inverter.embedder.embed(hypothesis)


def corrections(inverter: Inverter, objects: Sequence[Any], count: int) -> Tensor:
    """Corrections of the first guesses."""
    return inverter.corrector.correct(*state(inverter, objects), count, generator(inverter))


def equal(found: object, wanted: object, what: str) -> None:
    """Fail unless `found` is what was `wanted`."""
    assert found == wanted, f"{what}: {found}, not {wanted}"


def close(a: Tensor, b: Tensor, what: str) -> None:
    """Fail unless two tensors agree to a ten-thousandth of their largest value (of 1 where all are smaller)."""
    gap = float((a.cpu() - b.cpu()).abs().max())
    assert gap <= 1e-4 * max(1.0, float(b.abs().max())), f"{what} differ by {gap:.2g}"


def refused(call: Callable[[], object], what: str, error: type[Exception]) -> None:
    """Fail unless `call` raises `error`."""
    try:
        call()
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{what}: {type(other).__name__} was raised, not {error.__name__} ({other})") from other
    raise AssertionError(f"{what}: no {error.__name__} was raised")
