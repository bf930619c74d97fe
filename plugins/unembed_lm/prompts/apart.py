"""Keeping training prompts apart from test prompts: no run of eight words in common."""

import re
from collections.abc import Iterable

__all__ = ["RUN", "HeldPrompts", "words"]

RUN = 8
WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text: letters and digits, lower case."""
    return WORD.findall(text.lower())


class HeldPrompts:
    """Prompts that nothing trained on may share a run of `RUN` words with; of shorter ones, all words.

    Examples:
        >>> held = HeldPrompts(["Write a haiku about rain", "one two three four five six seven eight nine"])
        >>> held.overlap("write a haiku about RAIN!"), held.overlap("Write a haiku about rain and snow")
        (True, False)
        >>> held.overlap("zero, one two three four five six seven eight"), held.overlap("one two three")
        (True, False)
    """

    def __init__(self, prompts: Iterable[str]) -> None:
        self._runs: set[tuple[str, ...]] = set()
        for prompt in prompts:
            self._runs.update(_runs(prompt))

    def overlap(self, prompt: str) -> bool:
        """Whether a prompt shares a run with one of them."""
        return not self._runs.isdisjoint(_runs(prompt))


def _runs(text: str) -> list[tuple[str, ...]]:
    found = words(text)
    return [tuple(found[start : start + RUN]) for start in range(max(1, len(found) - RUN + 1))]
