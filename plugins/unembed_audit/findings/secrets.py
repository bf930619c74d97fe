"""Recognisers of passwords, codes and keys: by their prefixes, by their disorder, by the words before them."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from unembed_audit.findings.finding import Finding

__all__ = ["find_secrets"]

# Prefixes of tokens, as their issuers publish them; what is decoded from an uncased model has them in lower case.
_KEY = re.compile(
    r"(?<![\w-])(?:gh[pousr]_\w{8,}|github_pat_\w{8,}|glpat-[\w-]{8,}|xox[abprs]-[\w-]{8,}|"
    r"(?:sk|pk|rk|key)[_-](?:live|test|proj|ant)?"
    r"[_-]?[\w-]{10,}|akia[a-z0-9]{12,}|aiza[\w-]{20,}|eyj[\w-]{10,}(?:\.[\w-]+){0,2}|ya29\.[\w-]+|npm_\w{10,}|pypi-\w{10,}|"
    r"hf_\w{10,}|sg\.[\w-]{8,}\.[\w-]{8,}|ssh-(?:rsa|ed25519)\s\S{20,}|-----begin [a-z ]*private key-----)",
    re.IGNORECASE,
)
_CUE = (
    r"pass(?:word|code|phrase|wort|wd)?|pwd?|mot de passe|contraseña|kennwort|secret|api[ _-]?key"
    r"|access[ _-]?key|token|auth|credential|recovery|(?:old|new|previous)\sone|with\sthe\skey|(?:gate|door|alarm|entry"
    r"|access|lock|safe|security|verification|one-time|two-factor|2fa|login|reset|backup"
    r"|recovery)[ -](?:code|pin|password)|pin(?:[ -](?:code|number))?|otp|wi-?fi(?:[ -](?:password|key))?"
    r"|combination"
)
_LINK = (
    r"(?:\s(?:is|was|to|(?:for|of)(?:\s\w+\.?){1,3}\s(?:is|was)|(?:was\s)?(?:rotated|exposed|leaked|revoked|stolen)"
    r"|changed\sto|now|set\sto))?"
    r"(?:\s(?:now|still))?(?:\sthe)?"
)
_CUED = re.compile(
    rf"\b(?:{_CUE})\b{_LINK}\s?[:=]?\s?[\"'“]?([^\s\"'“”,;]{{3,}}?)(?=[\"'“”,;]?(?:\s|$)|\.(?:\s|$))", re.IGNORECASE
)
# What stands after an address, as lists of leaked credentials have it.
_BESIDE_EMAIL = re.compile(
    r"@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,12}(?:\s?[:/|]\s?|\s(?:and|with)\s)(?=\S*[a-z])(?=\S*[\d$*&!%^~])"
    r"([^\s@,;:|\"']{6,})(?=[\s,;:|\"']|$)",
    re.IGNORECASE,
)
# Letters and digits with marks among them that ordinary words don't have; "r$26" is money, "room#12" a place.
_MARKED = re.compile(
    r"(?<!\S)(?=\S*[a-z]{3})(?=\S*\d)(?=\w+[$*&!%^~])(?![a-z]{1,2}\$\d)[\w$*&!%^~#-]{6,}", re.IGNORECASE
)
_IN_URL = re.compile(r"\b[a-z][a-z0-9+]*://[^\s/:@]+:([^\s/@]+)@", re.IGNORECASE)
_RUN = re.compile(r"(?<![\w@./:-])(?:\w+=)?([\w$!*&^%+~=-]{10,})(?![\w@])")
_CODE = re.compile(r"\bcode\b(?:\sis|\sfor\s\w+\sis)?\s?[:=]?\s?(\d{4,8})\b", re.IGNORECASE)


def find_secrets(text: str) -> Iterator[Finding]:
    """Passwords, codes and keys in a rejoined text, overlapping ones among them."""
    for match in _KEY.finditer(text):
        yield Finding("secret", *match.span(), match[0], 0.97)
    for match in _IN_URL.finditer(text):
        yield Finding("secret", *match.span(1), match[1], 0.985)
    for match in _CUED.finditer(text):
        value = match[1].rstrip(".!?):")
        if value and _unlike_a_word(value):
            yield Finding("secret", match.start(1), match.start(1) + len(value), value, 0.9)
    for match in _BESIDE_EMAIL.finditer(text):
        value = match[1].rstrip(".!?)")
        yield Finding("secret", match.start(1), match.start(1) + len(value), value, 0.93)
    for match in _MARKED.finditer(text):
        value = match[0].rstrip("!%-#")
        if any(not c.isalnum() and c not in "_-" for c in value):
            yield Finding("secret", match.start(), match.start() + len(value), value, 0.93)
    for match in _CODE.finditer(text):
        yield Finding("secret", *match.span(1), match[1], 0.84)
    for match in _RUN.finditer(text):
        if _random(match[1]):
            yield Finding("secret", *match.span(1), match[1], 0.74)


def _unlike_a_word(value: str) -> bool:
    """Whether a value after a cue is more than the next word of a sentence."""
    if value.isdigit():
        return 3 <= len(value) <= 10
    if any(c.isdigit() for c in value):
        return len(value) >= 4
    return len(value) >= 6 and any(not c.isalnum() for c in value.strip(".-"))


def _random(value: str) -> bool:
    """Whether letters and digits alternate as in a key, with more disorder a character than words have."""
    classes = "".join("d" if c.isdigit() else "a" if c.isalpha() else "s" for c in value)
    changes = sum(a != b for a, b in pairwise(classes))
    counts = Counter(value.lower())
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    letters = [c for c in value if c.isalpha()]
    if not set(value.lower()) - set("0123456789abcdef-") or "-year-" in value:
        return False  # a hash or a trace's number, an age
    return len(letters) >= 4 and sum(c.isdigit() for c in value) >= 2 and changes >= 4 and entropy >= 3.0
