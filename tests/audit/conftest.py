"""What several rooms of the audit's tests share."""

import pytest

from unembed_audit.report.summary import Conditions


@pytest.fixture(scope="session")
def audit_conditions():
    """`audit_conditions(place=…)`: conditions of an audit, some of them as given."""

    def conditions(**changes):
        given = dict(
            place="stores/acme", kind="Chroma", inverter="minilm", embedder="all-MiniLM-L6-v2", identified="certain",
            width=384, effort="medium", precision="float32", domain="English passages", detectors="formats",
            names_found=False, sample=200, seed=0, shown=True, version="0.1.0", when="2026-01-01",
        )  # fmt: skip
        return Conditions(**{**given, **changes})

    return conditions
