"""WordPiece tokens to text as people write it.

BERT's tokenizer splits at every punctuation mark and forgets the spaces around it, so every choice of spaces
reads back as the same tokens, with few exceptions (the codec checks); the rules here only make the text look
natural, and where two spellings are common they take the commoner one.
"""

from collections.abc import Sequence

from unembed_text.codecs.code import looks_like_code, space_code

__all__ = ["detokenize", "join_pieces"]

_CLOSERS = set(",.;:!?%)]}>…”»")
_OPENERS = set("([{<$£€#“‘«")
_TIGHT = set("/_\\^~=+*|")
_DASHES = set("-–—")
_APOSTROPHES = set("'’")
_CLITICS = {"s", "t", "re", "ve", "ll", "d", "m", "em"}
_ELISIONS = {"o", "d", "l", "y"}  # o'clock, d'accord, l'amour, y'all
_DOMAINS = {"com", "org", "net", "io", "edu", "gov", "co", "uk", "de", "html", "py", "js", "md", "txt", "pdf"}


def join_pieces(tokens: Sequence[str]) -> list[str]:
    """WordPiece tokens as words: `##` pieces join the word before them."""
    words: list[str] = []
    for token in tokens:
        if not token.startswith("##") or len(token) == 2:
            words.append(token)
        elif words:
            words[-1] += token[2:]
        else:
            words.append(token[2:])  # a text that begins within a word
    return words


def detokenize(tokens: Sequence[str]) -> str:
    """Tokens as natural text: contractions, quotation marks, hyphens, brackets, numbers, abbreviations; or as code."""
    words = join_pieces(tokens)
    return space_code(words, _natural) if looks_like_code(words) else _natural(words)


def _natural(words: Sequence[str]) -> str:
    text = ""
    double = single = False  # whether a straight quotation mark is open
    glue = True  # whether the next word follows without a space
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        after = words[place + 1] if place + 1 < len(words) else ""
        if word == '"':
            space, glue_next = not double, not double
            double = not double
        elif word in _APOSTROPHES:
            kind = _apostrophe(words, place, single)
            space, glue_next = kind == "open", kind in ("open", "inside")
            single = kind == "open" or (single and kind != "close")
        else:
            space, glue_next = word not in _CLOSERS, word in _OPENERS
        if word[0].isalnum() and before in (".", ",", ":", "?", "&"):
            glue = glue or _within_number_or_name(words, place, text)
        if word == "(" and before[-1:].isdigit() and len(after) == 1 and words[place + 2 : place + 3] == [")"]:
            glue = True  # as in "figure 3(b)"
        if word in _DASHES:
            tight = before[-1:].isalnum() and (not after or after[:1].isalnum())
            second = before == word
            space, glue_next = not (tight or second), tight or after == word or not (second or before[-1:].isalnum())
        if word in _TIGHT or (word == "@" and words[place + 2 : place + 3] == ["."]):
            space, glue_next = False, True
        if word == "&" and max(len(before), len(after)) <= 2:
            space, glue_next = False, True
        text += (" " if text and space and not glue else "") + word
        glue = glue_next
    return text


def _apostrophe(words: Sequence[str], place: int, single: bool) -> str:
    """What a ' or ’ is: "inside" a word, "open" or "close" of a quotation, or the "end" of a word."""
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    if before[-1:].isalnum() and (after in _CLITICS or (before in _ELISIONS and after[:1].isalnum())):
        return "inside"
    if single:
        return "close"
    if words[place] == "’":
        return "end"
    later = words[place + 1 :]
    closing = any(
        mark == "'" and not (later[i + 1 : i + 2] and later[i + 1] in _CLITICS) for i, mark in enumerate(later)
    )
    return "open" if closing or not before[-1:].isalnum() else "end"


def _within_number_or_name(words: Sequence[str], place: int, text: str) -> bool:
    """Whether the word at `place` continues what stands before the mark in front of it."""
    word, mark = words[place], words[place - 1]
    earlier = words[place - 2] if place > 1 else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    chunk = text.rpartition(" ")[2]
    if "www" in chunk or "://" in chunk:
        return True
    if earlier[-1:].isdigit() and word[0].isdigit() and mark in ".,:":
        return mark != "," or (len(word) == 3 and len(earlier) <= 3)
    initials = len(earlier) == 1 and earlier.isalpha() and len(word) == 1 and after == "."
    return mark == "." and (initials or word in _DOMAINS)
