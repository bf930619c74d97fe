"""Recognisers of spans that have a format: net addresses, dates, times, amounts, doses, postal addresses, ids."""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from unembed_audit.findings.finding import Finding

__all__ = ["find_formats"]

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?)\b\.?,?"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:19|20)\d\d"
_NTH = rf"{_DAY}(?:\s?(?:st|nd|rd|th))?"
_CODES = (
    r"usd|eur|gbp|chf|jpy|cny|inr|brl|cad|aud|nzd|sek|nok|dkk|pln|czk|huf|ron|zar|kes|ngn|aed|sar|mxn|sgd|hkd|krw|"
    r"try|ils|thb|rub|kr|zł|lei|rs\.?"
)
_WORDS = r"dollars?|euros?|pounds?|francs?|kronor|kroner|rupees?|yen|pesos?|rand|shillings?|bucks|cents?"
_SYMBOL = r"(?:(?:a|c|nz|hk|us|s|r|z)?\$|[€£¥₹₩₽₺฿₫₦])"
_NUMBER = r"\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?"
_STREET = (
    r"street|st|road|rd|avenue|ave|lane|ln|drive|dr|court|ct|boulevard|blvd|way|close|place|square|sq|terrace|crescent|"
    r"parkway|pkwy|highway|hwy|row|gardens|grove|hill|mews|walk|alley|quay|park|view|circle|trail|loop|path"
)
_STREET_FIRST = (
    r"rue|avenue|av|avenida|calle|paseo|plaza|via|viale|piazza|rua|praça|chemin|impasse|allée|allee|boulevard|place|quai|"
    r"travessa|largo|corso|camino|carrera|ulica|ul\.?|jalan|jl\.?"
)
_STREET_JOINED = (
    r"[a-zà-ÿß]+(?:straße|strasse|str\.?|weg|platz|allee|gasse|straat|laan|gracht|plein|vej|gatan|vägen|gade)"
)
_UNIT = (
    r"(?:,?\s(?:flat|apt\.?|apartment|unit|suite|ste\.?|no\.?|#)\s?\d{1,4}(?:\s?[a-z]\b)?|"
    r"\s?#\d{1,4}\b|,\s\d{1,2}º\s[a-z]\b)"
)
# A town after a street: up to three words, between digits that may be a postcode before or behind it.
_TOWN = (
    r"(?:,\s(?:\d{4,5}\s)?(?!at\b|on\b|by\b|and\b|with\b|for\b|from\b|since\b|is\b|was\b|has\b)[a-zà-ÿ'-]{3,}"
    r"(?:,\s(?:[a-z]{2}\s)?(?:[a-z]{1,2}\d{1,2}[a-z]?\s\d[a-z]{2}|\d{4,6}))?)?"
)


@dataclass(frozen=True)
class _Format:
    kind: str
    pattern: re.Pattern[str]
    score: float
    accept: Callable[[str], bool] | None = None
    group: int = 0


def _format(
    kind: str, pattern: str, score: float, accept: Callable[[str], bool] | None = None, group: int = 0
) -> _Format:
    return _Format(kind, re.compile(pattern, re.IGNORECASE), score, accept, group)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True


def _mixed(text: str) -> bool:
    """Whether letters and enough digits are mixed as in a document's number, and not as in a dose or an ordinal."""
    return sum(c.isdigit() for c in text) >= 3 and not re.fullmatch(
        r"\d+(?:st|nd|rd|th|am|pm|mg|ml|kg|km|cm|mm|h)", text
    )


FORMATS: tuple[_Format, ...] = (
    _format(
        "email",
        r"(?<![\w.+-])[\w%+-]+(?:\.[\w%+-]+)*@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)*"
        r"\.[a-z]{2,12}\b",
        0.98,
    ),
    _format("url", r"\b(?:https?|ftp|ssh|wss?|postgres(?:ql)?|mysql|mongodb|redis|amqp|s3)://[^\s<>\"']+[\w/]", 0.98),
    _format("url", r"\bwww\.[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[\w./?=&%#-]*[\w/])?", 0.95),
    _format("ip", r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?![\w.]*\d)", 0.95, _is_ip),
    _format(
        "ip",
        r"(?<![\w:])(?:[0-9a-f]{1,4}:){2,7}[0-9a-f]{1,4}(?![\w:])|(?<![\w:])(?:[0-9a-f]{1,4}:)"
        r"+:(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*)?",
        0.9,
        _is_ip,
    ),
    # dates
    _format(
        "date",
        rf"\b{_YEAR}[-/.](?:0?[1-9]|1[0-2])[-/.]{_DAY}(?!\d)(?:t\s?\d\d:\d\d(?::\d\d(?:\.\d+)?)"
        rf"?z?)?",
        0.96,
    ),
    _format("date", rf"(?<![\d./-]){_DAY}[-/.](?:0?[1-9]|1[0-2])[-/.](?:{_YEAR}|\d\d)(?![\d/-])", 0.9),
    _format("date", rf"(?<![\d./-])(?:0?[1-9]|1[0-2])[-/.]{_DAY}[-/.](?:{_YEAR}|\d\d)(?![\d/-])", 0.89),
    _format(
        "date",
        rf"(?:\b{_WEEKDAY}\s)?(?:\bthe\s)?(?<![\d/-]){_NTH}[\s-](?:of\s)?{_MONTH}(?:[\s,-]{{1,2}}{_YEAR}\b)"
        rf"?",
        0.93,
    ),
    _format("date", rf"(?:\b{_WEEKDAY}\s)?\b{_MONTH}\s?{_NTH}\b(?!\s?:\d)(?:,?\s{_YEAR}\b)?", 0.92),
    _format("date", rf"\b{_MONTH},?\s{_YEAR}\b", 0.85),
    _format("date", r"\b(?:born|dob|birthday|date of birth)\b\W{0,3}(?:in\s)?((?:19|20)\d\d)\b", 0.8, group=1),
    _format(
        "date",
        rf"\b(?:on|by|until|from|since|before|after|due|sent|reviewed|dated)\s({_DAY}/{_DAY})(?"
        rf"![\w/])",
        0.78,
        group=1,
    ),
    # times of day
    _format("time", r"(?<![\d:.])(?:[01]?\d|2[0-3])[:.][0-5]\d(?::[0-5]\d)?\s?[ap]\.?m\b\.?", 0.95),
    _format("time", r"(?<![\d:.])(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?(?![\d:])", 0.88),
    _format("time", r"(?<![\d:.])(?:0?[1-9]|1[0-2])\s?[ap]\.?m\b", 0.9),
    _format("time", r"(?<![\d:.])(?:[01]?\d|2[0-3])h[0-5]\d\b", 0.88),
    _format("time", r"\b(?:(?:half past|quarter (?:past|to))\s\w+|\w+ o'clock)\b", 0.7),
    # money
    _format(
        "amount",
        rf"(?:{_SYMBOL}|\b(?:{_CODES}))\s?(?:{_NUMBER})(?![\d])(?:\s?(?:k|m|bn|million|billion|"
        rf"thousand)\b)?",
        0.95,
    ),
    _format(
        "amount",
        rf"(?<![\w.,])(?:{_NUMBER})\s?(?:k|m|million|billion|thousand)?\s?(?:(?:{_CODES}|{_WORDS})"
        rf"\b|[€£¥₹])",
        0.93,
    ),
    # doses
    _format(
        "dose",
        r"(?<![\w.,])\d+(?:[.,]\d+)?\s?(?:mg|mcg|µg|ug|micrograms?|milligrams?|ml|iu|units?|tablets?"
        r"|puffs?|drops)\b(?:/(?:kg|day|h|ml|l)\b)?(?!\s?/\s?d?l\b)",
        0.85,
    ),
    # postal addresses
    _format(
        "address",
        rf"(?<![\w.,/-])\d{{1,5}}[a-z]?\s(?:[a-zà-ÿ'-]+\.?\s){{1,3}}(?:{_STREET})\b\.?{_UNIT}?{_TOWN}",
        0.82,
    ),
    _format(
        "address",
        rf"(?<!\w)\d{{1,5}}[a-z]?,?\s(?:{_STREET_FIRST})\s(?:d(?:e|u|es|el|i|a|o|os|as)\s|de\sl['a]\s?"
        rf"|l')?[a-zà-ÿ'-]+{_UNIT}?{_TOWN}",
        0.82,
    ),
    _format("address", rf"\b(?:{_STREET_FIRST})\s(?:[a-zà-ÿ'-]+\s){{1,3}}\d{{1,5}}[a-z]?\b{_UNIT}?{_TOWN}", 0.8),
    _format("address", rf"\b{_STREET_JOINED}\s\d{{1,4}}\s?[a-z]?\b{_TOWN}", 0.8),
    _format("address", r"\bp\.?\s?o\.?\s?box\s\d{1,6}\b", 0.85),
    # users, by what stands before them
    _format(
        "user",
        r"\b(?:user(?:\s?name)?|login|logged in as|(?:lock|unlock|close|disable) the account|account of|username|"
        r"admin|actor|session|reviewer|owner)\b(?:\s(?:is|of))?\W{0,4}([a-z][\w-]*(?:\.[a-z]\w*|[\d_]\w*)+)\b",
        0.85,
        group=1,
    ),
    _format("user", r"(?<![\w@.])@[a-z_]\w{2,}\b", 0.7),
    # numbers of records and documents
    _format(
        "id",
        r"\b(?:ref(?:erence)?|invoice|order|case|ticket|policy|claim|contract|incident|passport|purchase|reservation|quote|voucher|coupon|"
        r"licen[cs]e|mrn|nhs|ssn|plate|badge|booking|flight|parcel|tracking|file|participant|patient|"
        r"member|customer|employee|student|permit|certificate|asset|request|docket)\b(?:\s?(?:no|"
        r"nr|number|id)\b\.?)?\s?[:=#]?\s?#?((?=[a-z./-]*\d)[a-z0-9]+(?:[-/.][a-z0-9]+)*)\b",
        0.82,
        group=1,
    ),
    _format("id", r"\b(?:id|uid|_id)\s?[:=#]\s?((?=[a-z-]*\d)[\w-]{4,})", 0.85, group=1),
    _format("id", r"(?<![\w.@/-])[a-z]{1,6}[-/]\d[\da-z]*(?:[-/][\da-z]+)*\b(?![@.]\w)", 0.75, _mixed),
    _format(
        "id",
        r"(?<![\w.@/-])(?:[a-z]{1,5}\d{3,}[a-z]?|[a-z]\d[a-z]\d[a-z]\d|\d{2,}[/-][a-z]{2,4}|[a-z]{1,2}\d{2}\s[a-"
        r"z]{3})\b(?![@.]\w)",
        0.68,
        _mixed,
    ),
    _format("id", r"\b\d{3}-\d{2}-\d{4}\b", 0.8),
    # a file's or a commit's hash; numbers that tax offices give: CPF and CNPJ, EIN, VAT
    _format(
        "id",
        r"\b(?:hash|sample|sha-?(?:1|256|512)?|md5|commit|digest|checksum)\b(?:\sof)?\s?[:=]?\s?"
        r"((?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,64})\b(?![.-])",
        0.97,
        group=1,
    ),
    _format("id", r"(?<![\w.-])(?:\d{3}\.\d{3}\.\d{3}|\d{2}\.\d{3}\.\d{3}/\d{4})-\d{2}(?![\w-])", 0.96),
    _format("id", r"(?<![\w.-])\d{2}-\d{7}(?![\w-])", 0.93),
    _format("id", r"(?<![\w.@-])[a-z]{2}\d{8,12}(?![\w-])", 0.93),
    _format("id", r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", 0.88),
    _format("id", r"(?<![\w#])#\d{3,}\b", 0.7),
)


def find_formats(text: str) -> Iterator[Finding]:
    """Findings in a rejoined text by their format alone, overlapping ones among them."""
    for one in FORMATS:
        for match in one.pattern.finditer(text):
            value = match[one.group]
            if value and (one.accept is None or one.accept(value)):
                start, end = match.span(one.group)
                yield Finding(one.kind, start, end, value, one.score)
