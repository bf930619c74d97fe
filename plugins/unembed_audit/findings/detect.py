"""All recognisers over one text: rejoin, recognise, settle, and say where each span stood."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from unembed_audit.findings.finding import Finding, settle
from unembed_audit.findings.formats import find_formats
from unembed_audit.findings.numbers import find_numbers
from unembed_audit.findings.rejoin import rejoin
from unembed_audit.findings.secrets import find_secrets

__all__ = ["Tag", "detect", "detect_all"]

# Tags N texts: for each, findings with places in that text.
Tag = Callable[[Sequence[str]], Sequence[Sequence[Finding]]]


def detect(text: str) -> list[Finding]:
    """Spans of `text` that matter and have a format, in order and without overlaps.

    Works offline on lower-cased text whose spaces a tokenizer has moved. Names, organisations, places, diagnoses,
    drugs and laboratory values have no format: `detect_all` finds them where it is given a tagger.
    """
    (found,) = detect_all([text])
    return found


def detect_all(texts: Sequence[str], *, tag: Tag | None = None) -> list[list[Finding]]:
    """`detect` of each text, with what `tag` finds beside the formats. Places are those of the given texts."""
    joined = [rejoin(text) for text in texts]
    tagged = [()] * len(texts) if tag is None else tag([one.text for one in joined])
    found = []
    for one, more in zip(joined, tagged, strict=True):
        spans = settle([*find_formats(one.text), *find_numbers(one.text), *find_secrets(one.text), *more])
        found.append([_placed(finding, one.original(finding.start, finding.end)) for finding in spans])
    return found


def _placed(finding: Finding, place: tuple[int, int]) -> Finding:
    return replace(finding, start=place[0], end=place[1])
