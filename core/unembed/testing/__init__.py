"""The conformance suite: what every inverter promises, checked on yours.

In a plugin's tests, with pytest:

    @unembed.testing.inverter_checks(lambda: unembed.load("mine"), objects=["a few", "of its inputs"])
    def test_conformance(check):
        check()

Without pytest: `unembed.testing.check_inverter(inverter, objects)`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from unembed.inverter import Inverter
from unembed.testing.checks import CHECKS, Check, applies

if TYPE_CHECKING:
    import pytest

__all__ = ["check_inverter", "inverter_checks"]


def check_inverter(
    inverter: Inverter, objects: Sequence[Any], *, known_failures: Mapping[str, str] | None = None
) -> None:
    """Run every check that applies on `inverter` with two or more distinct `objects` that it can take.

    `known_failures` maps a check's name to the reason why it may fail, and then it must. Raises
    AssertionError that starts with the name of the check.
    """
    known = _known(known_failures)
    for check in CHECKS:
        if not applies(check, inverter):
            continue
        try:
            check(inverter, objects)
        except AssertionError as error:
            if check.__name__ not in known:
                raise AssertionError(f"{check.__name__}: {error}") from error
        else:
            if check.__name__ in known:
                raise AssertionError(f"{check.__name__} passes now; take it off the known failures")


def inverter_checks(
    make: Callable[[], Inverter], objects: Sequence[Any], *, known_failures: Mapping[str, str] | None = None
) -> "pytest.MarkDecorator":
    """Parametrize a pytest test over the checks, as its argument `check`, to be called with nothing.

    `make` builds the inverter once, when the first check runs. A known failure is a strict xfail.
    """
    import pytest

    known = _known(known_failures)
    build = cache(make)

    def bound(check: Check) -> Callable[[], None]:
        def run() -> None:
            if not applies(check, build()):
                pytest.skip("the inverter doesn't declare this ability")
            check(build(), objects)

        return run

    def marks(check: Check) -> Any:
        name = check.__name__
        return pytest.mark.xfail(reason=known[name], strict=True) if name in known else ()

    return pytest.mark.parametrize(
        "check", [pytest.param(bound(check), id=check.__name__, marks=marks(check)) for check in CHECKS]
    )


def _known(known_failures: Mapping[str, str] | None) -> Mapping[str, str]:
    known = known_failures or {}
    unknown = set(known) - {check.__name__ for check in CHECKS}
    if unknown:
        raise ValueError(f"no check is called {', '.join(sorted(unknown))}")
    return known
