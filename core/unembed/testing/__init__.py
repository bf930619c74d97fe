"""The conformance suite: what every plugin promises, checked on yours.

In a plugin's tests, with pytest:

    @unembed.testing.inverter_checks(lambda: unembed.load("mine"))
    def test_conformance(check):
        check()

Without pytest: `unembed.testing.check_inverter(inverter)`, or `unembed check PLUGIN` for everything it offers.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unembed.inversion.inverter import Inverter
from unembed.testing.checks import INVERTER, PLUGIN, TRAINING
from unembed.testing.checks.training import Training
from unembed.testing.suite import Outcome, Suite

if TYPE_CHECKING:
    import pytest

__all__ = ["Outcome", "check_inverter", "check_plugin", "inverter_checks", "training_checks"]

Known = Mapping[str, str] | None


def check_inverter(inverter: Inverter, objects: Sequence[Any] | None = None, *, known_failures: Known = None) -> None:
    """Run every check that applies on `inverter` with two or more distinct `objects`, its codec's probes if none.

    `known_failures` maps a check's name to the reason why it may fail, and then it must. Raises AssertionError with
    a line for each failure, which starts with the name of the check.

    Examples:
        >>> from unembed.testing import check_inverter
        >>> from unembed.testing.toy import toy_inverter
        >>> check_inverter(toy_inverter(), ["cafe", "bead", "headache"])
    """
    _inverter_suite(lambda: inverter, objects).require(known_failures)


def inverter_checks(
    make: Callable[[], Inverter], objects: Sequence[Any] | None = None, *, known_failures: Known = None
) -> "pytest.MarkDecorator":
    """Parametrize a pytest test over the checks of an inverter, as its argument `check`, to be called with nothing.

    `make` builds the inverter once, when the first check runs; `objects` are two or more distinct ones to check it on,
    its codec's probes if none. Each check of `known_failures`, which maps its name to a reason, is a strict xfail.

    Examples:
        >>> from unembed.testing import inverter_checks
        >>> from unembed.testing.toy import toy_inverter
        >>> @inverter_checks(toy_inverter, objects=["cafe", "bead", "headache"])
        ... def test_conformance(check):
        ...     check()
    """
    return _inverter_suite(make, objects).parametrize(known_failures)


def training_checks(config: Path, *, known_failures: Known = None) -> "pytest.MarkDecorator":
    """Parametrize a pytest test over the checks of what the TOML file `config` trains, as its argument `check`.

    The recipe is built on the CPU when the first check runs; nothing is trained. `known_failures` are those of
    `inverter_checks`.

    Examples:
        >>> from pathlib import Path
        >>> from unembed.testing import training_checks
        >>> @training_checks(Path("train.toml"))
        ... def test_training_conforms(check):
        ...     check()
    """
    return Suite(TRAINING, lambda: (_training(config),)).parametrize(known_failures)


def check_plugin(name: str, *, config: Path | None = None) -> dict[str, list[Outcome]]:
    """Run every check on the plugin called `name` and on all that it offers; what came of them, by subject.

    Its inverters are checked on their codec's probes. With the `config` of a training its recipe is checked, and the
    inverter that it would train as it is at the start. Raises UnknownNameError, or ConfigError for a wrong config.

    Examples:
        >>> from unembed.testing import check_plugin
        >>> for outcome in check_plugin("stores")["plugin stores"][:2]:
        ...     print(outcome.check, outcome.status)
        plugin_loads passed
        plugin_offers_something passed
    """
    from unembed.registry.discovery import plugin
    from unembed.registry.opening import load

    info = plugin(name)
    package = Suite(PLUGIN, lambda: (info,))
    found = {f"plugin {name}": package.outcomes()}
    if package.outcome("plugin_builds_its_inverters").status == "passed":
        for spec in info.inverters:
            found[f"inverter {spec.name}"] = _inverter_suite(partial(load, spec.name, device="cpu"), None).outcomes()
    if config is not None:
        training = _training(config)
        recipe = Suite(TRAINING, lambda: (training,))
        found[f"training {config}"] = recipe.outcomes()
        if recipe.outcome("recipe_builds").status == "passed":
            found[f"inverter of {config}, untrained"] = _inverter_suite(lambda: _untrained(training), None).outcomes()
    return found


def _inverter_suite(make: Callable[[], Inverter], objects: Sequence[Any] | None) -> Suite:
    def subject() -> tuple[Inverter, Sequence[Any]]:
        inverter = make()
        return inverter, list(inverter.codec.probes) if objects is None else objects

    return Suite(INVERTER, subject)


def _training(path: Path) -> Training:
    from unembed.config import parse, read_toml
    from unembed.registry.discovery import method
    from unembed.training.config import TrainConfig

    config = parse(TrainConfig, read_toml(path), str(path))
    return Training(method(config.method), config.recipe)


def _untrained(training: Training) -> Inverter:
    training.recipe.network.eval()
    return training.recipe.inverter()
