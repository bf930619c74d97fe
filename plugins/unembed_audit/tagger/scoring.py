"""How well spans are detected: by overlapping characters, kind by kind."""

from collections import Counter
from collections.abc import Callable, Sequence

from unembed_audit.findings.finding import Finding
from unembed_audit.tagger.examples import Record

__all__ = ["score_spans"]

NUMBERS = ("account", "amount", "card", "iban", "id")


def score_spans(
    records: Sequence[Record], find: Callable[[Sequence[str]], Sequence[Sequence[Finding]]], *, at_once: int = 64
) -> dict[str, dict[str, float | int]]:
    """Recall and precision of each kind in characters, spaces aside, on the records' lower-cased texts.

    `covered` is the share of a kind's characters found as any kind at all: what is masked. `n` counts the kind's spans.
    The last entries are `numbers`, the kinds of number but telephones and dates together, and `all`.
    """
    true, found, both, covered, spans = Counter[str](), Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for group in range(0, len(records), at_once):
        chosen = records[group : group + at_once]
        texts = [lowered(record.text) for record in chosen]
        for record, text, findings in zip(chosen, texts, find(texts), strict=True):
            given: list[str | None] = [None] * len(text)
            got: list[str | None] = [None] * len(text)
            for start, end, kind in record.spans:
                spans[kind] += 1
                given[start:end] = [kind] * (end - start)
            for one in findings:
                got[one.start : one.end] = [one.kind] * (one.end - one.start)
            for truth, claim, character in zip(given, got, text, strict=True):
                if character.isspace():
                    continue
                if truth is not None:
                    true[truth] += 1
                    both[truth] += truth == claim
                    covered[truth] += claim is not None
                if claim is not None:
                    found[claim] += 1
    for name, kinds in {"numbers": NUMBERS, "all": set(true) | set(found)}.items():
        for counts in (true, found, both, covered, spans):
            counts[name] = sum(counts[kind] for kind in kinds)
    return {
        kind: {
            "recall": round(both[kind] / true[kind], 4) if true[kind] else 0.0,
            "precision": round(both[kind] / found[kind], 4) if found[kind] else 0.0,
            "covered": round(covered[kind] / true[kind], 4) if true[kind] else 0.0,
            "n": spans[kind],
        }
        for kind in sorted(set(true) | set(found), key=lambda kind: (kind in ("numbers", "all"), kind))
        if true[kind] or found[kind]
    }


def lowered(text: str) -> str:
    """A text in lower case with as many characters as before: a letter that would become two stays as it is."""
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)
