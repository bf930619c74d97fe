"""Taking back the spaces that decoding put into numbers, addresses and names.

An uncased WordPiece model splits at every punctuation mark and forgets the spaces around it; what is decoded reads
`jane. doe @ example. com` or `$ 1, 200. 50`. Each rule here is a pattern whose match, or the part
named `joined`, loses its spaces. Rules only ever delete spaces, so every character of the result has a place in
the original.
"""

import re
from dataclasses import dataclass

__all__ = ["Rejoined", "rejoin"]

_TLD = (
    r"(?:com|org|net|edu|gov|mil|int|info|biz|io|dev|app|ai|cloud|tech|online|store|shop|site|me|tv|xyz|pro|name|"
    r"example|test|invalid|localhost|local|internal|"
    r"(?:co|ac|org|gov|com|net|nhs|ne|or)\s?\.\s?(?:uk|jp|nz|za|in|kr|au|br|mx|ar|sg|hk|tr|il|ke|th)|"
    r"uk|de|fr|es|it|nl|be|ch|at|se|no|dk|fi|pl|cz|pt|ie|gr|hu|ro|eu|us|ca|au|nz|jp|cn|kr|br|mx|ru|ua|tr|za|ng|ke)"
)
_TLD_END = r"(?![\w-])(?!\s?\.\s?(?:com|co|org|net|uk)\b)"
_NAME_PART = r"[a-z0-9_%+]+"
# At most one full stop with a space after it joins the local part: "thanks. jane. doe @ …" keeps its sentence.
_LOCAL = (
    rf"(?:{_NAME_PART}(?:\s?[-+_]\s?{_NAME_PART})*\s?\.\s?)?"
    rf"{_NAME_PART}(?:(?:\s?[-+_]\s?|\.){_NAME_PART})*"
)
_HOST = rf"[a-z0-9-]+(?:\s?[.-]\s?[a-z0-9]+)*?\s?\.\s?{_TLD}{_TLD_END}"
_PATH = r"(?:\s?/\s?[\w~%+=&?#-]+(?:\s?[-_.=&?#%+~]\s?[\w%]+)*)*(?:\s?/(?!\s?\w))?"
_QUERY = r"(?:\s?\?\s?\w+\s?=\s?[\w%+-]+(?:\s?&\s?\w+\s?=\s?[\w%+-]+)*)?"
_MONEY = (
    r"(?:(?:(?:a|c|nz|hk|us|s|r|z)\s?)?\$|[€£¥₹₩₽₺฿₫₦]|\brs\s?\.?|"
    r"\b(?:usd|eur|gbp|chf|jpy|cny|brl|cad|aud|nzd|sek|nok|dkk|pln|czk|huf|zar|kes|aed|sar|mxn|sgd|hkd|try))"
)
_UNIT = r"(?:%|eur|usd|gbp|chf|euros?|dollars?|pounds|francs|kr|zł|[€£]|mg|ml|mcg|g|kg|[mpn]mol|l|hours?)(?!\w)"
_PASSWORD = (
    r"\b(?:pass(?:word|code|wort|wd)?|pwd?|pin|kennwort|secret|wi\s?-?\s?fi(?:\skey)?|"
    r"(?:door|gate|access|alarm)\scode)\b"
)

_RULES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # a scheme with credentials, host and path; then a bare host with www
        rf"\b[a-z][a-z0-9+]*\s?:\s?/\s?/\s?(?:[\w.-]+\s?:\s?[^\s@/]+\s?@\s?)?"
        rf"(?:{_HOST}|(?:\d{{1,3}}\s?\.\s?){{3}}\d{{1,3}}|localhost)"
        rf"(?:\s?:\s?\d{{2,5}}\b)?{_PATH}{_QUERY}",
        rf"\bwww\s?\.\s?{_HOST}{_PATH}{_QUERY}",
        rf"\b{_LOCAL}\s?@\s?{_HOST}",
        r"\b[0-9a-f]{1,4}(?:\s?:\s?[0-9a-f]{1,4}){2,7}(?:\s?:\s?:\s?[0-9a-f]{0,4})?\b",
        r"\b[0-9a-f]{1,4}(?:\s?:\s?[0-9a-f]{1,4})*\s?:\s?:(?:\s?[0-9a-f]{1,4}\b(?:\s?:\s?[0-9a-f]{1,4}\b)*)?",
        r"\b\d{1,3}(?:\s?\.\s?\d{1,3}){3}\b(?:\s?/\s?\d{1,2}\b)?",
        # the space before a mark, and within brackets
        r"(?<=[\wà-ÿ)])\s[,;.!?)](?=\s|$)",
        r"(?<=\()\s",
        # numbers: thousands and decimals, dates, telephone and card groups, ranges
        rf"{_MONEY}\s?\d+(?:\s?[.,']\s?\d{{3}})*(?:\s?[.,]\s?\d{{1,2}})?(?!\d)",
        r"\b\d{1,3}(?:\s?,\s?\d{3})+(?:\s?\.\s?\d{1,2})?\b",
        r"\b\d{1,3}(?:\s?\.\s?\d{3})+\s?,\s?\d{1,2}\b",
        rf"\b\d+\s?[.,]\s?\d{{1,2}}(?=\s?{_UNIT})",
        r"\b\d{3}\s?\.\s?\d{3}\s?\.\s?\d{4}\b",
        r"\b\d{4}\s?-\s?\d\d\s?-\s?\d\dt\s?\d\d(?:\s?:\s?\d\d)+(?:\s?\.\s?\d{1,6})?z?\b",
        r"\b\d{1,2}\s?\.\s?\d{1,2}\s?\.\s?\d{2,4}\b",
        r"\b\d+(?:\s?[-/]\s?\d+)+\b",
        r"\b\d{1,2}\s?:\s?\d{2}(?:\s?:\s?\d{2}(?:\s?\.\s?\d{1,6}(?=z|\s|$))?)?(?!\d)",
        r"\b\d+\s?\.\s?\d+(?=\s?(?:am|pm|%))",
        r"(?<!\w)\+\s?\d{1,3}\b",
        r"\(\s?\d{2,5}\s?\)",
        r"(?:[*•]\s?){2,}(?:[*•-]\s?)*\d{0,4}",
        r"\bx{3,}(?:\s?-\s?(?:x{3,}|\d{4}))+",
        # numbers with letters: INV - 2024 - 0032, cl / 85 / 95748, k - 118 - 57, # 613
        r"\b[a-z]{1,10}\s?[-/]\s?\d[\da-z]*(?:\s?[-/]\s?[\da-z]*\d[\da-z]*)*\b",
        r"\b\d[\da-z]*\s?[-/]\s?[a-z]{1,4}(?:\s?[-/]\s?[\da-z]*\d[\da-z]*)*\b",
        r"#\s?\d+",
        # names with an apostrophe, hyphens between letters
        r"\b(?:o|d|l|mc|n)\s?['’]\s?[a-zà-ÿ]{2,}\b",
        r"(?<=[a-zà-ÿ])\s['’]\ss\b",
        r"\b[a-zà-ÿ]{2,}(?:\s-\s[a-zà-ÿ]{2,})+\b",
        # passwords with signs in them, after the word that announces one: pass : n $ portland * 82
        rf"{_PASSWORD}(?:\s(?:is|was|to))?\s?[:=]?\s?"
        r"(?P<joined>[\w]+(?:\s?[$!&*#%^+~@-]\s?[\w]+)*(?:\s?[$!&*#%^+~=])*)",
        # keys with underscores and dashes: sk _ live _ 4f2a
        r"\b\w+(?:\s?_\s?\w+)+\b",
        r"\b(?:sk|pk|rk|key|glpat|xox[a-z])\s?[-_]\s?\w+(?:\s?[-_]\s?\w+)*\b",
        r"\b(?:sg|ya29)\s?\.\s?\w{6,}(?:\s?\.\s?\w{6,})?\b",
        r"\b[a-z0-9+/]{12,}\s=(?:\s?=)?",
    )
)


@dataclass(frozen=True)
class Rejoined:
    """A text without the spaces of decoding; `places[i]` is where its i-th character stood before."""

    text: str
    places: tuple[int, ...]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the text before rejoining that `text[start:end]` came from."""
        return self.places[start], self.places[end - 1] + 1


def rejoin(text: str) -> Rejoined:
    """Delete the spaces that decoding put into numbers, addresses, keys and names."""
    found = Rejoined(text, tuple(range(len(text))))
    for rule in _RULES:
        found = _applied(rule, found)
    return found


def _group(rule: re.Pattern[str]) -> int:
    """The part of a rule's match that loses its spaces: the group `joined` where there is one."""
    return rule.groupindex.get("joined", 0)


def _applied(rule: re.Pattern[str], given: Rejoined) -> Rejoined:
    drop = {
        place
        for match in rule.finditer(given.text)
        for place in range(*match.span(_group(rule)))
        if given.text[place] in " \t"
    }
    # A pattern may end in an optional space: one after its match separates words and stays.
    drop -= {match.end(_group(rule)) - 1 for match in rule.finditer(given.text) if len(match[_group(rule)]) > 1}
    if not drop:
        return given
    keep = [place for place in range(len(given.text)) if place not in drop]
    return Rejoined("".join(given.text[i] for i in keep), tuple(given.places[i] for i in keep))
