"""Names in ordinary text, labelled by their capitals and by known names; what is in doubt teaches nothing."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from unembed_audit.tagger.examples import Example, plain
from unembed_audit.tagger.labels import OUTSIDE, UNSURE, begin, inside, spans_of

__all__ = ["KnownNames", "known_names", "silver_sentences"]

# Like the words of `tagged`, but an initial keeps its full stop.
_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")
_SENTENCE = re.compile(r"(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bMrs\.)(?<!\bProf\.)(?<=[.!?])\s+(?=[A-Z\"'(])")
TITLES = frozenset(("mr", "mrs", "ms", "dr", "prof", "miss", "sir"))
COMMON = 20  # times a word stands in lower case from which it is a word as well


@dataclass(frozen=True)
class KnownNames:
    """Lower-cased words that begin names, that end them, and that are places, organisations or ordinary words too."""

    first: frozenset[str]
    last: frozenset[str]
    other: frozenset[str]


def known_names(examples: Iterable[Example], names: Iterable[Sequence[str]], passages: Iterable[str]) -> KnownNames:
    """What names are known from tagged records and from lists, and which of their words are also something else."""
    first, last, other = set[str](), set[str](), set[str]()
    for example in examples:
        for start, end, kind in spans_of(example.tags):
            words = [word for word in example.words[start:end] if word.isalpha() and word not in TITLES]
            if kind == "name" and len(words) > 1 and len(words[0]) > 1:
                first.add(words[0])
                last.add(words[-1])
            elif kind in ("place", "org", "address"):
                other |= set(words)
    for name in names:
        whole = [word for word in name if word.isalpha() and word not in TITLES]
        if len(whole) > 1 and len(whole[0]) > 1:
            first.add(whole[0])
            last.add(whole[-1])
    counted = Counter(word for text in passages for word in re.findall(r"\b[a-z]{2,}\b", text))
    other |= {word for word, count in counted.items() if count >= COMMON}
    return KnownNames(frozenset(first), frozenset(last), frozenset(other))


def silver_sentences(passages: Iterable[str], known: KnownNames, *, longest: int = 60) -> Iterator[Example]:
    """Sentences of ordinary cased text that name somebody, each word tagged as name, as nothing, or as unsure.

    A run of capitalised words is a name after a title, or where a known first name begins it; other capitals within a
    sentence, numbers and addresses are unsure.
    """
    for passage in passages:
        for sentence in _SENTENCE.split(passage):
            words = [match[0] for match in _WORD.finditer(sentence)]
            if not 4 <= len(words) <= longest or sum(word[0].isupper() for word in words) > len(words) / 2:
                continue
            tags = _tagged(words, known)
            if begin("name") in tags:
                low = [plain(word) for word in words]
                if all(low):
                    yield Example(tuple(low), tuple(tags))


def _tagged(words: Sequence[str], known: KnownNames) -> list[int]:
    tags = [_alone(word, place == 0, known) for place, word in enumerate(words)]
    place = 0
    while place < len(words):
        end = _run(words, place)
        if end == place:
            place += 1
            continue
        start = place
        titled = plain(words[start]) in TITLES
        if titled and end - start > 1 and words[start + 1] == ".":
            titled = end - start > 2
        if titled or _is_name([word for word in words[start:end] if word != "."], start == 0, known):
            tags[start:end] = [begin("name"), *[inside("name")] * (end - start - 1)]
        elif end - start > 1:
            tags[start:end] = [UNSURE] * (end - start)
        place = end
    return tags


def _run(words: Sequence[str], start: int) -> int:
    """The end of the capitalised words that begin at `start`, with initials' and titles' full stops; at most five."""
    end = start
    while end < len(words) and end - start < 6:
        word = words[end]
        capital = word.isalpha() and word[0].isupper() and (len(word) == 1 or word[1:] != word[1:].upper())
        stop = word == "." and end > start and (len(words[end - 1]) == 1 or plain(words[end - 1]) in TITLES)
        if not (capital or stop):
            break
        end += 1
    return end - 1 if end > start and words[end - 1] == "." else end


def _is_name(run: Sequence[str], opens: bool, known: KnownNames) -> bool:
    low = [plain(word) for word in run]
    if low[0] not in known.first or not 1 <= len(low) <= 4:
        return False
    if len(low) == 1:
        return low[0] not in known.other and not opens
    # The last word is a known surname, or at least no ordinary word.
    return low[-1] in known.last or (low[-1] not in known.other and low[0] not in known.other)


def _alone(word: str, opens: bool, known: KnownNames) -> int:
    """The tag of a word in no name: whether it could be of some kind that isn't labelled."""
    if any(c.isdigit() for c in word) or word in "@/_#$€£":
        return UNSURE
    if not word[0].isupper() or word in ("I", "A"):
        return OUTSIDE
    low = plain(word)
    return OUTSIDE if low in known.other and low not in known.first and opens else UNSURE
