"""Recognisers of numbers that carry a check digit or a numbering plan: cards, IBANs, telephones, accounts.

The check digits and plans are python-stdnum's and phonenumbers'. A number that fails its check is still reported, less
surely: an inverter that gets one digit wrong has given away the others.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from unembed_audit.findings.finding import Finding

__all__ = ["find_numbers"]

_CARD = re.compile(r"(?<![\w-])(?:\d{4}[ -]?){3}\d{1,7}(?![\w-])|(?<![\w-])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?![\w-])")
_CARD_PART = re.compile(
    r"(?:[*•]{1,4}[ -]?|\bx{3,4}-?)+\d{4}\b|\b(?:card\s)?(?:ending|ends)(?:\sin|\swith)?\s\d{4}\b|"
    r"\b(?:cvv|cvc)2?\s?[:=]?\s?\d{3,4}\b|\bexp(?:iry|ires)?\b\.?\s?[:=]?\s?\d\d\s?/\s?(?:20)?\d\d\b",
    re.IGNORECASE,
)
_IBAN = re.compile(r"\b[a-z]{2}\d{2}(?:[ ]?[a-z0-9]{4}){2,7}(?:[ ]?[a-z0-9]{1,3})?\b", re.IGNORECASE)
_ACCOUNT = re.compile(
    r"\b(?:accounts?|acct|a/c|konto|loan|sort code|routing(?:\sn(?:o|umber))?|iban|bank details|meter)\b"
    r"(?:\s(?:is|no|nr|number|of|with))?[.:#=\s]{0,3}((?:[*x]{2,}-?)?\d[\d\s-]{2,22}\d)(?![\w-])",
    re.IGNORECASE,
)
_ACCOUNT_BARE = re.compile(
    r"(?<![\w.,/-])(?:\d{2}-\d{4}-\d{7}|\d{2}-\d{2}-\d{2}\s\d{8}|[*x]{3,}\d{4}|\d{4}-\d{4}-\d{2})(?![\w-])"
)
_PHONE = re.compile(
    r"(?<![\w.])(?:\+?1\.)?\d{3}\.\d{3}\.\d{4}\b|"
    r"(?<![\w.,/=$€£-])(?:\+|00(?=[1-9]\d{1,2}[ -]))?(?:\(\d{1,5}\)[ -]?)?\d[\d -]{5,17}\d(?![\w/]|[-.]\d)"
)
_PHONE_CUE = re.compile(
    r"(?:\b(?:tel|telephone|phone|call|ring|mobile|cell|fax|contact|reach|line|whatsapp|text|dial|hotline|number)\b"
    r"|\bm:|\bt:)[^\d]{0,24}$",
    re.IGNORECASE,
)
REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "AU", "IN", "SE", "BR")


def find_numbers(text: str) -> Iterator[Finding]:
    """Cards, IBANs, accounts and telephone numbers in a rejoined text, overlapping ones among them."""
    yield from _cards(text)
    yield from _ibans(text)
    yield from _accounts(text)
    yield from _phones(text)


def _cards(text: str) -> Iterator[Finding]:
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if not 13 <= len(digits) <= 19:
            continue
        checked = luhn.is_valid(digits)
        likely = digits[0] in "3456"
        if checked or likely:
            score = 0.97 if checked and likely else 0.84
            yield Finding("card", *match.span(), match[0], score, "checksum" if checked else "format")
    for match in _CARD_PART.finditer(text):
        yield Finding("card", *match.span(), match[0], 0.83)


def _ibans(text: str) -> Iterator[Finding]:
    from stdnum import iban

    for match in _IBAN.finditer(text):
        # Words follow an IBAN in lower case as its own groups would: the longest beginning that checks is it.
        span = match[0]
        groups = [m.end() for m in re.finditer(r"[a-z0-9]+", span, re.IGNORECASE)]
        ends = [end for end in groups if 15 <= len(span[:end].replace(" ", "")) <= 34]
        good = [end for end in ends if iban.is_valid(span[:end].upper())]
        if good:
            yield Finding("iban", match.start(), match.start() + good[-1], span[: good[-1]], 0.99, "checksum")
            continue
        # Without a fitting check digit, a group without digits ends the number.
        end = 0
        for group in re.finditer(r"[a-z0-9]+", span, re.IGNORECASE):
            if group.start() and not any(c.isdigit() for c in group[0]) and end >= 15:
                break
            end = group.end()
        digits = sum(c.isdigit() for c in span[:end])
        if 15 <= len(span[:end].replace(" ", "")) <= 34 and digits >= 8:
            yield Finding("iban", match.start(), match.start() + end, span[:end], 0.87)


def _accounts(text: str) -> Iterator[Finding]:
    for match in _ACCOUNT.finditer(text):
        if sum(c.isdigit() for c in match[1]) >= 4:
            yield Finding("account", *match.span(1), match[1], 0.88)
    for match in _ACCOUNT_BARE.finditer(text):
        yield Finding("account", *match.span(), match[0], 0.72)


def _phones(text: str) -> Iterator[Finding]:
    for match in _PHONE.finditer(text):
        number = match[0]
        digits = re.sub(r"\D", "", number)
        cued = bool(_PHONE_CUE.search(text[max(0, match.start() - 40) : match.start()]))
        grouped = number[0] in "+(" or len(re.findall(r"[ .-]+", number)) >= 1
        local = re.fullmatch(r"555-?\d{4}", number) is not None
        if re.fullmatch(r"(?:19|20)\d\d[ -](?:0?[1-9]|1[0-2])[ -]\d{1,2}", number):
            continue
        if re.search(r"(?:19|20)\d\d-(?:0\d|1[0-2])$", number):
            continue
        if not 7 <= len(digits) <= 15 or not (cued or grouped):
            continue
        valid = _possible(number, digits)
        if not valid and not cued and not local and number[0] != "+":
            continue
        score = 0.72 + 0.1 * cued + 0.08 * (number[0] in "+(") + 0.06 * valid
        yield Finding("phone", *match.span(), number, min(score, 0.96), "format")


@lru_cache(4096)
def _possible(number: str, digits: str) -> bool:
    """Whether some numbering plan has room for the number."""
    import phonenumbers

    for region in (None,) if number.startswith("+") else REGIONS:
        try:
            parsed = phonenumbers.parse(number, region)
        except phonenumbers.NumberParseException:
            continue
        if region is None:
            if phonenumbers.is_possible_number(parsed):
                return True
        elif phonenumbers.is_valid_number(parsed):
            return True
    # 555-01xx numbers are in no plan, and everybody's example.
    return re.fullmatch(r"1?\d{3}55501\d\d", digits) is not None
