"""What a check is, what comes of it, and the order: a check waits for those that it builds on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pytest

__all__ = ["Check", "Outcome", "Suite", "check"]


@dataclass(frozen=True)
class Check:
    """One rule of the contract: `run(*subject)` raises AssertionError where the subject breaks it.

    `needs` names the checks without whose rules this one can't tell anything; `when(*subject)` says whether the
    subject declares the ability that the rule is about.
    """

    name: str
    rule: str
    run: Callable[..., None]
    needs: tuple[str, ...] = ()
    when: Callable[..., bool] | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one check, and why unless it passed.

    "skipped" is a check whose ability isn't declared, "blocked" one that needs another that hasn't passed.
    """

    check: str
    status: Literal["passed", "failed", "skipped", "blocked"]
    detail: str = ""


def check(*needs: Check, when: Callable[..., bool] | None = None) -> Callable[[Callable[..., None]], Check]:
    """Make a check of a function: its name is the check's, its docstring the rule."""

    def made(function: Callable[..., None]) -> Check:
        rule = " ".join((function.__doc__ or "").split())
        return Check(function.__name__, rule, function, tuple(needed.name for needed in needs), when)

    return made


class Suite:
    """Some checks on one subject, which `make` builds when the first of them runs; each check runs once."""

    def __init__(self, checks: Sequence[Check], make: Callable[[], tuple[Any, ...]]) -> None:
        self.checks = {item.name: item for item in checks}
        self._subject = cache(make)
        self._outcomes: dict[str, Outcome] = {}

    def outcomes(self) -> list[Outcome]:
        """What came of every check, in order."""
        return [self.outcome(name) for name in self.checks]

    def outcome(self, name: str) -> Outcome:
        """What came of one check; those that it needs are run first."""
        if name not in self._outcomes:
            self._outcomes[name] = self._run(self.checks[name])
        return self._outcomes[name]

    def _run(self, item: Check) -> Outcome:
        for needed in item.needs:
            if self.outcome(needed).status in ("failed", "blocked"):
                return Outcome(item.name, "blocked", f"needs {needed}")
        subject = self._subject()
        if item.when is not None and not item.when(*subject):
            return Outcome(item.name, "skipped", "the ability isn't declared")
        try:
            item.run(*subject)
        except Exception as error:  # a stranger's code: whatever it raises is what came of the check
            found = str(error) if isinstance(error, AssertionError) else f"raised {type(error).__name__}: {error}"
            return Outcome(item.name, "failed", f"{found}. The rule: {item.rule} (docs/contract.md#{item.name})")
        return Outcome(item.name, "passed")

    def require(self, known_failures: Mapping[str, str] | None) -> None:
        """Raise AssertionError with a line for each check that failed, or passed though it is a known failure."""
        known = self.known(known_failures)
        faults = []
        for outcome in self.outcomes():
            if outcome.status == "failed" and outcome.check not in known:
                faults.append(f"{outcome.check}: {outcome.detail}")
            elif outcome.status == "passed" and outcome.check in known:
                faults.append(f"{outcome.check} passes now; take it off the known failures")
        if faults:
            raise AssertionError("\n".join(faults))

    def parametrize(self, known_failures: Mapping[str, str] | None) -> "pytest.MarkDecorator":
        """One pytest test a check, as its argument `check`; a known failure is a strict xfail with its reason."""
        import pytest

        known = self.known(known_failures)

        def bound(name: str) -> Callable[[], None]:
            def run() -> None:
                outcome = self.outcome(name)
                if outcome.status in ("skipped", "blocked"):
                    pytest.skip(outcome.detail)
                assert outcome.status == "passed", f"{name}: {outcome.detail}"

            return run

        def marks(name: str) -> Any:
            return pytest.mark.xfail(reason=known[name], strict=True) if name in known else ()

        return pytest.mark.parametrize(
            "check", [pytest.param(bound(name), id=name, marks=marks(name)) for name in self.checks]
        )

    def known(self, known_failures: Mapping[str, str] | None) -> Mapping[str, str]:
        """The known failures, none of them of a check that there isn't; raises ValueError."""
        known = known_failures or {}
        unknown = set(known) - set(self.checks)
        if unknown:
            raise ValueError(f"no check is called {', '.join(sorted(unknown))}")
        return known
