"""Content words: how many of a text's come back, whatever their order."""

import re

__all__ = ["content_share"]

WORDS = """the a an of to and in is it that for on with as was are be this by at or from have has had not but they his
her
he she you i we their its were been will would can could if so do does did no there what which who when them then than
our your my me him us all any more about into out up one also may must"""
COMMON = frozenset(WORDS.split())


def content_share(original: str, found: str) -> float | None:
    """The share of the different content words of `original` that `found` has; None where it has no such words.

    Those are of two characters or more, and not among the 80 commonest.

    Examples:
        >>> from unembed_text.content import content_share
        >>> content_share("The patient was given 20 mg.", "the patient got 20 pills")
        0.5
    """
    words = {word for word in re.findall(r"[a-z0-9]+", original.lower()) if word not in COMMON and len(word) > 1}
    return len(words & set(re.findall(r"[a-z0-9]+", found.lower()))) / len(words) if words else None
