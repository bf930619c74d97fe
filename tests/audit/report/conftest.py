"""Rows and reports to look at."""

import pytest

from unembed_audit.pipeline.sampling import Census, Stratum

HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(2)> \"'>{{ 7 * 7 }} javascript:alert(3)"


def row(number, **changes):
    given = {
        "id": f"id-{number}", "row": number, "collection": "tickets", "deleted": False, "text": f"text {number}",
        "tokens": 12, "similarity": 1.0, "confidence": 0.9, "verdict": None, "stopped": "exact", "steps": 2,
        "queries": 100, "exact": None, "words": None, "missed": None, "findings": [],
    }  # fmt: skip
    return {**given, **changes}


def finding(kind="phone", right=None, support=None, value="212-555-0187"):
    return {"kind": kind, "value": value, "by": "format", "score": 0.9, "support": support, "right": right}


@pytest.fixture
def make(audit_conditions):
    """Builders of rows, findings, conditions and a census of 90 live and 10 deleted records."""
    census = Census({Stratum("tickets"): 90, Stratum("tickets", True): 10}, skipped=1, reasons=["row 3: holds NaN"])

    class Make:
        pass

    found = Make()
    found.row, found.finding, found.conditions, found.census, found.hostile = (
        row,
        finding,
        audit_conditions,
        census,
        HOSTILE,
    )
    return found
