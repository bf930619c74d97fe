"""A span that matters, and how overlapping ones are settled."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Finding", "settle"]


@dataclass(frozen=True)
class Finding:
    """`text[start:end]` is of `kind`; `value` is the same without the spaces that decoding put into it.

    `score` (0 to 1) is how sure the detector is of the kind, given that the text is right. `support` (0 to 1) is the
    probability that the value really stood in the original; None where nothing tells. `by` is "format", "checksum"
    (a format with a check digit that fits) or "tagger".
    """

    kind: str
    start: int
    end: int
    value: str
    score: float
    by: str = "format"
    support: float | None = None


def settle(found: Iterable[Finding]) -> list[Finding]:
    """Findings without overlaps, in the order of the text: the surest stays, of equals the longest."""
    kept: list[Finding] = []
    for finding in sorted(found, key=lambda one: (-one.score, one.start - one.end, one.start)):
        if all(finding.end <= other.start or other.end <= finding.start for other in kept):
            kept.append(finding)
    return sorted(kept, key=lambda one: one.start)
