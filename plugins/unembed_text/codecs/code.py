"""Spaces in program code, which WordPiece forgets as it does those of text: as formatters of code set them."""

from collections.abc import Callable, Sequence
from itertools import pairwise

__all__ = ["looks_like_code", "space_code"]

_KEYWORDS = {
    "and", "as", "assert", "async", "await", "break", "case", "catch", "class", "const", "continue", "def", "del", "do",
    "elif", "else", "enum", "except", "export", "extends", "finally", "fn", "for", "from", "func", "function", "global",
    "if", "import", "in", "is", "lambda", "let", "match", "new", "none", "not", "or", "pass", "raise", "return",
    "select", "static", "struct", "switch", "throw", "try", "values", "var", "void", "where", "while", "with", "yield",
}  # fmt: skip
_BEGIN = {
    "async", "class", "const", "def", "del", "elif", "except", "export", "fn", "for", "from", "func", "function", "if",
    "import", "let", "print", "raise", "return", "select", "static", "switch", "try", "update", "var", "while", "with",
}  # fmt: skip
_CALLING = {"assert", "await", "del", "from", "import", "print", "raise", "return", "throw", "yield"}
_RUN = 4  # names in a row that no line of code has, unless it ends in a semicolon or a bracket
_INSIDE = {"(", "in", "<", ">", "=", "not", "."}
_PAIRS = {"==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "->", "=>", "**", "//", "&&", "||", "::", ":=", "++", "--"}
_BINARY = {"=", "+", "-", "*", "/", "%", "<", ">", "&", "|", "^", "@"} | (_PAIRS - {"::", "++", "--"})
_UNARY = {"-", "+", "*", "**", "&", "@", "!", "~", "$", "++", "--"}
_CLOSE = {")": "(", "]": "[", "}": "{"}


def looks_like_code(words: Sequence[str]) -> bool:
    """Whether words are those of a line of code: an assignment, a call, a name with underscores, a statement."""
    if not words or words[0] == "<" or any(mark in words for mark in ("www", "http", "https")):
        return False
    if _prose(words):
        return False
    pairs = set(pairwise(words))
    if pairs & {("(", ")"), ("=", "="), ("!", "="), ("-", ">"), ("=", ">"), ("+", "="), ("self", ".")}:
        return True
    triples = list(zip(words, words[1:], words[2:], strict=False))
    if any(_operand(a) and b == "=" for a, b in pairs) or ("lambda" in words and ":" in words):
        return True
    if "@" not in words and any(_operand(a) and b == "_" and _operand(c) for a, b, c in triples):
        return True
    if words[-1] in "{};" and "(" in words:
        return True
    if words[0] in _BEGIN and words[-1] in ":;" and _INSIDE & set(words):
        return True
    return words[-1] == ")" and "(" in words and _calls(words)


def _prose(words: Sequence[str]) -> bool:
    """Whether words follow each other with no mark or keyword between them as they do in sentences alone, or blanks."""
    run, quote = 0, ""
    for place, word in enumerate(words):
        if word in {'"', "'", "`", "#"}:
            quote = "" if word == quote else quote or word
        run = run + 1 if word.isalpha() and word not in _KEYWORDS and not quote else 0
        if run >= _RUN and words[-1] not in "{};":
            return True
        if word == "_" and list(words[place : place + 3]) == ["_"] * 3:
            return True
    return False


def _calls(words: Sequence[str]) -> bool:
    """Whether all is one call: a name, perhaps dotted, perhaps after a keyword, and its arguments."""
    first = words.index("(")
    name = list(words[1:first] if words[0] in _CALLING - {"print"} else words[:first])
    dotted = len(name) % 2 == 1 and all((part == ".") == bool(place % 2) for place, part in enumerate(name))
    plain = len(name) == 1 and words[0] not in _CALLING and not set(words[first:]) & {"*", "=", '"', "'"}
    return dotted and not plain and words.count("(") == words.count(")")


def _operand(word: str) -> bool:
    return word[-1:].isalnum() or word in {"_", ")", "]"}


def space_code(words: Sequence[str], natural: Callable[[Sequence[str]], str]) -> str:
    """Words of code as a formatter would set them; what stands in quotation marks or a comment is `natural` text."""
    tokens = _merged(words)
    text, before, tight = "", "", True  # the token before, and whether nothing stands between it and the next
    open_: list[str] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        quoted = token in {'"', "'", "`"} and token in tokens[place + 1 :]
        space = not tight and _spaced(before, token, open_, tokens, place)
        text += " " if space and text else ""
        if quoted:
            end = tokens.index(token, place + 1)
            text += token + natural(_split(tokens[place + 1 : end])) + token
            place, before, tight = end + 1, ")", False
            continue
        if token == "#" or (token == "//" and not _operand(before)):
            return text + token + " " + natural(_split(tokens[place + 1 :]))
        text += token
        tight = _sticks(token, before, open_, tokens, place)
        if token in "([{":
            open_.append(token)
        elif open_ and _CLOSE.get(token) == open_[-1]:
            open_.pop()
        before = token
        place += 1
    return text


def _merged(words: Sequence[str]) -> list[str]:
    """Operators of two marks as one token."""
    found: list[str] = []
    for word in words:
        if found and found[-1] + word in _PAIRS:
            found[-1] += word
        else:
            found.append(word)
    return found


def _split(tokens: Sequence[str]) -> list[str]:
    """Tokens with their operators in single marks again, as words of text are."""
    return [part for token in tokens for part in (token if token in _PAIRS else (token,))]


def _argument(open_: Sequence[str], tokens: Sequence[str]) -> bool:
    """Whether an equals sign names an argument: within round brackets, and not of a for loop with semicolons."""
    return open_[-1:] == ["("] and ";" not in tokens[:-1]


def _spaced(before: str, token: str, open_: Sequence[str], tokens: Sequence[str], place: int) -> bool:
    """Whether a space stands before a token that doesn't stick to the one before."""
    if token in {",", ";", ")", "]", "}", ".", ":", "::", "?"}:
        return False
    if token == "=" and _argument(open_, tokens):
        return False
    if token in {"(", "["}:
        return before in _KEYWORDS or not _operand(before)
    if token == "_":
        return before in _KEYWORDS or not _operand(before)
    if before == "_":
        return token in _BINARY or token in {"in", "is", "and", "or", "for", "if", "as"}
    if token in {"++", "--"}:
        return not _operand(before)
    return True


def _sticks(token: str, before: str, open_: Sequence[str], tokens: Sequence[str], place: int) -> bool:
    """Whether the next token follows without a space."""
    if token in {"(", "[", "{", ".", "::", "\\", "$"}:
        return True
    if token == "=":
        return _argument(open_, tokens)
    if token == ":":
        return open_[-1:] == ["["]
    if token == "_":
        following = tokens[place + 1] if place + 1 < len(tokens) else ""
        return following == "_" or (following[:1].isalnum() and following not in {"in", "is", "and", "or", "for", "if"})
    unary = not before or (not _operand(before) and before not in {"select", "import"})
    return token in {"!", "~"} or (token in _UNARY and (unary or before in _KEYWORDS - {"select", "import"}))
