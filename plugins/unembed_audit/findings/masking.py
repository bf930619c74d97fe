"""Texts with what matters blotted out."""

import re
from collections.abc import Sequence

from unembed_audit.findings.finding import Finding

__all__ = ["BLOT", "mask", "mask_unknown", "mask_value"]

BLOT = "█"

# Words of grammar, and of what records are about, that are nobody's name; everything else is blotted out where names
# can't be told from other words.
_WORDS = """
    a about account address after again all also am amount an and any appointment are as at balance be because
    been before being but by called can card case claim client code contact contract could customer date delivery
    did do does email error file for from had has have he her here hers him his how i if in into invoice is it its
    just key letter login me meeting message might more most must my no nor not note now number of off on once
    one only or order other our out over own paid password patient pay payment per phone please policy price
    record refund report request room secret send sent server she should since so some subject such support system
    team than that the their them then there these they this those through ticket to token too total transfer
    under until up user very visit was we were what when where which while who whom why with would yes you
    your
"""
_PLAIN = frozenset(_WORDS.split())


def mask_value(finding: Finding) -> str:
    """A finding's value with its letters and digits blotted out, but for the first of a value of four or more.

    Punctuation stays, so that the form can be seen: `jane.doe@example.com` is `j███.███@███████.███`. Nothing of a
    secret stays, not even its length.
    """
    if finding.kind == "secret":
        return BLOT * 8
    value = finding.value
    keep = 1 if sum(c.isalnum() for c in value) >= 4 and value[:1].isalpha() else 0
    return value[:keep] + re.sub(r"[^\W_]", BLOT, value[keep:])


def mask(text: str, findings: Sequence[Finding]) -> str:
    """`text` with each of its findings (in order, without overlaps) masked."""
    parts, place = [], 0
    for finding in findings:
        parts += [text[place : finding.start], mask_value(finding)]
        place = finding.end
    return "".join([*parts, text[place:]])


def mask_unknown(text: str, findings: Sequence[Finding]) -> str:
    """`mask`, and every other word that isn't among a few plain ones: for detectors that can't tell names."""
    parts, place = [], 0
    for finding in findings:
        parts += [_plain(text[place : finding.start]), mask_value(finding)]
        place = finding.end
    return "".join([*parts, _plain(text[place:])])


def _plain(text: str) -> str:
    return re.sub(r"[^\W_]+", lambda word: word[0] if word[0].lower() in _PLAIN else BLOT * len(word[0]), text)
