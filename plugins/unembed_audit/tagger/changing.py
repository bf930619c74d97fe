"""Making examples unlike the lists they came from, and like what an inverter gives back."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from unembed_audit.tagger.examples import Example
from unembed_audit.tagger.labels import OUTSIDE, begin, inside, kind_of, mended, spans_of

__all__ = ["INVENTED", "Speller", "corrupted", "names_of", "renamed", "spellers"]

INVENTED = ("name", "org", "place", "drug", "user")  # kinds whose words may be any; the others follow a form
ORDER, END = 3, "$"


@dataclass
class Speller:
    """Spells words that look like those it was taught: a Markov chain over letters, of order three (Shannon 1948)."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def learn(self, words: Iterable[str]) -> "Speller":
        """Take words in."""
        for word in words:
            padded = "^" * ORDER + word + END
            for place in range(ORDER, len(padded)):
                self.counts[padded[place - ORDER : place]][padded[place]] += 1
        return self

    def spell(self, draw: random.Random, *, longest: int = 14) -> str:
        """A new word, perhaps one of the old ones."""
        word = "^" * ORDER
        while len(word) < ORDER + longest:
            choices = self.counts[word[-ORDER:]]
            letter = draw.choices(list(choices), weights=list(choices.values()))[0]
            if letter == END:
                break
            word += letter
        return word[ORDER:]


def spellers(examples: Iterable[Example]) -> dict[str, Speller]:
    """A speller of each invented kind, taught the words of its spans."""
    words: dict[str, set[str]] = {kind: set() for kind in INVENTED}
    for example in examples:
        for first, last, kind in spans_of(example.tags):
            if kind in words:
                words[kind] |= {word for word in example.words[first:last] if word.isalpha() and len(word) > 2}
    return {kind: Speller().learn(sorted(found)) for kind, found in words.items() if found}


def names_of(locales: Sequence[str], count: int, *, seed: int = 0) -> list[tuple[str, ...]]:
    """Names of people of many origins, by the package faker, as lower-cased words; those in Latin letters alone.

    Raises MissingExtraError where faker isn't installed.
    """
    from unembed.errors import MissingExtraError
    from unembed_audit.tagger.examples import plain

    try:
        from faker import Faker
    except ModuleNotFoundError as error:
        raise MissingExtraError("names of more origins need faker: pip install faker, or --names 0") from error
    made: list[tuple[str, ...]] = []
    for place, locale in enumerate(locales):
        fake = Faker(locale)
        fake.seed_instance(seed + place)
        for _ in range(count // len(locales)):
            words = tuple(plain(word) for word in fake.name().replace(".", " ").replace("-", " - ").split())
            if words and all(word.isascii() for word in words):
                made.append(words)
    return made


def renamed(
    example: Example,
    draw: random.Random,
    *,
    spell: Mapping[str, Speller],
    names: Sequence[tuple[str, ...]] = (),
    share: float = 0.5,
) -> Example:
    """The example with a `share` of its names (and other invented words) replaced: by `names` or by new spellings.

    What a tagger learns then is where names stand and what they look like, not which ones a list had. Equal spans
    get equal replacements, as one person is named twice.
    """
    words: list[str] = []
    tags: list[int] = []
    done: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
    place = 0
    for first, last, kind in spans_of(example.tags):
        old = example.words[first:last]
        new: tuple[str, ...] = done.get((kind, old), ())
        if not new and kind in spell and draw.random() < share:
            if kind == "name" and names and draw.random() < 0.5:
                new = draw.choice(names)
            else:
                new = tuple(spell[kind].spell(draw) if word.isalpha() and len(word) > 2 else word for word in old)
            new = tuple(word for word in new if word)
            done[(kind, old)] = new
        words += [*example.words[place:first], *(new or old)]
        tags += [*example.tags[place:first], *_tags(kind, len(new or old))]
        place = last
    return Example((*words, *example.words[place:]), (*tags, *example.tags[place:]))


def corrupted(example: Example, draw: random.Random, *, share: float = 0.08) -> Example:
    """The example with mistakes of an inverter: words swapped or moved, dropped, doubled, digits changed.

    About `share` of the words are touched. A word keeps its tag wherever it goes. Spaces needn't be spoiled: the
    tokens of an uncased model are the same however a text is spaced.
    """
    pairs = list(zip(example.words, example.tags, strict=True))
    for _ in range(_rounds(len(pairs) * share, draw)):
        if len(pairs) < 3:
            break
        place, kind = draw.randrange(len(pairs)), draw.randrange(6)
        if kind == 0 and place + 1 < len(pairs):
            pairs[place], pairs[place + 1] = pairs[place + 1], pairs[place]
        elif kind == 1:
            moved = pairs.pop(place)
            pairs.insert(draw.randrange(len(pairs) + 1), moved)
        elif kind == 2 and pairs[place][1] == OUTSIDE:
            pairs.pop(place)
        elif kind == 3 and pairs[place][1] == OUTSIDE:
            pairs.insert(place, pairs[place])
        elif kind == 4 and pairs[place][1] == OUTSIDE:
            pairs[place] = (draw.choice(example.words), OUTSIDE) if _all_outside(example) else pairs[place]
        else:
            word, tag = pairs[place]
            pairs[place] = (
                "".join(str(draw.randrange(10)) if c.isdigit() and draw.random() < 0.5 else c for c in word),
                tag,
            )
    return Example(tuple(word for word, _ in pairs), tuple(mended([tag for _, tag in pairs])))


def _all_outside(example: Example) -> bool:
    return all(kind_of(tag) is None for tag in example.tags)


def _tags(kind: str, count: int) -> list[int]:
    return [begin(kind), *[inside(kind)] * (count - 1)][:count]


def _rounds(mean: float, draw: random.Random) -> int:
    whole = int(mean)
    return whole + (draw.random() < mean - whole)
