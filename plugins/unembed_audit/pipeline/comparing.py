"""A recovered text beside the original, where the store keeps it: what came back, what was made up, what was missed."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from unembed_audit.findings.finding import Finding
from unembed_audit.findings.rejoin import rejoin
from unembed_audit.findings.support import normalised

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """`words` is the share of the original's words that came back (0 to 1, order aside); `right` says of each finding
    whether its value stands in the original; `missed` counts, by kind, the original's findings that didn't come back.
    """

    words: float
    right: tuple[bool, ...]
    missed: dict[str, int]


def compare(recovered: str, found: Sequence[Finding], original: str, in_original: Sequence[Finding]) -> Comparison:
    """Compare a recovered text and its findings with the original and its findings."""
    ours, theirs = words_of(recovered), words_of(original)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    missed = Counter(one.kind for one in in_original if not _holds(one, ours, found))
    return Comparison(
        words=shared / max(1, len(theirs)),
        right=tuple(_holds(one, theirs, in_original) for one in found),
        missed=dict(sorted(missed.items())),
    )


def words_of(text: str) -> list[str]:
    """Runs of letters and digits, in lower case, without marks above them: all that an uncased model can tell."""
    import unicodedata

    plain = unicodedata.normalize("NFD", rejoin(text).text.lower())
    return re.findall(r"[^\W_]+", "".join(c for c in plain if unicodedata.category(c) != "Mn"))


def _holds(finding: Finding, words: Sequence[str], findings: Sequence[Finding]) -> bool:
    """Whether a text of those words and findings has the value: as words in a row, or as the value of a finding."""
    wanted = words_of(finding.value)
    width = len(wanted)
    if any(list(words[i : i + width]) == wanted for i in range(len(words) - width + 1)):
        return bool(wanted)
    return any(one.kind == finding.kind and normalised(one.value) == normalised(finding.value) for one in findings)
