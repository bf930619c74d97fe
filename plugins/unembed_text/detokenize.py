"""WordPiece tokens to text as people write it.

BERT's tokenizer splits at every punctuation mark and forgets the spaces around it, so every choice of spaces
here reads back as the same tokens; the rules only make the text look natural.
"""

import re
from collections.abc import Sequence

__all__ = ["detokenize"]

_CLOSERS = set(",.;:!?%)]}…")
_OPENERS = set("([{$£€#@")
_TIGHT = set("-–—/_\\^~=+*&|<>")
_CLITICS = {"s", "t", "re", "ve", "ll", "d", "m", "em"}


def detokenize(tokens: Sequence[str]) -> str:
    """Join WordPiece tokens into natural text: contractions, hyphens, brackets, numbers, quotation marks."""
    words: list[str] = []
    for token in tokens:
        if token.startswith("##") and words and len(token) > 2:
            words[-1] += token[2:]
        else:
            words.append(token)
    text, quoted = "", False
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        after = words[index + 1] if index + 1 < len(words) else ""
        space = bool(text) and _space(before, word, after, text, words[index - 2] if index > 1 else "")
        if word == '"':
            space = bool(text) and not quoted and before not in _OPENERS
            quoted = not quoted
        elif before == '"':
            space = not quoted and word not in _CLOSERS
        text += (" " if space else "") + word
    return text


def _space(before: str, word: str, after: str, text: str, earlier: str) -> bool:
    """Whether a space stands between `before` and `word`."""
    if word in _CLOSERS or before in _OPENERS:
        # "… . 5" is a decimal that began the text; ". net" stays apart
        return False
    if word == "'":
        return not (after in _CLITICS or before.endswith("s")) or not before[-1:].isalnum()
    if before == "'":
        return not (word in _CLITICS or text.endswith(" '") or text == "'")
    if before in {".", ","} and earlier.isdigit() and word.isdigit():
        return before == "," and len(word) != 3
    if before == ":" and earlier.isdigit() and word.isdigit():
        return False
    if before == "." and earlier.isalnum() and re.fullmatch(r"(com|org|net|io|edu|gov|py|js|md|txt|html)", word):
        return False
    if word in _TIGHT or before in _TIGHT:
        return False
    return not (word in _OPENERS and word in "#@_" and before.isalnum())
