"""Invented records with known spans: for the demo, for planting in stores, for measuring detectors.

Its sentences and lists are its own, not those that the tagger learnt from. Nothing in them is real: telephone numbers
are of ranges kept for fiction, domains are reserved, card numbers and IBANs fail their check digits.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Planted", "chunks", "invented"]

_FIRST = """
    Aurelia Bjarne Cosima Dashiell Edwina Fenna Gideon Halima Ignatius Jolanta Kaito Leocadia Mattheus Nerys Obinna
    Perpetua Quentin Rukmini Stellan Thandiwe Ulrika Vasilis Wiremu Xiomara Yaroslav Zainab Ansel Birgitta Caspian
    Delphine Emeka Farzana Gwendolyn Hamish Iolanthe Jarek Keziah Ludovic Marisol Nikhil Odalys Piotr Ravindra Saoirse
    Tobin Ursula Venkat Winifred Yusra Zoltan Amit Brenda Carlos Diana Erik Fatima George Helen Ivan Julia Kevin Laura
    Martin Nora Oliver Paula Rachel Simon Teresa Victor
"""
_LAST = """
    Achterberg Babatunde Castellanos Dragomir Eskildsen Farrukh Gallowglass Hinterberger Iwasaki Jankauskas Kirkbride
    Lindqvist Mbeki Nordstrom Oyelaran Papadakis Quarshie Rasmussen Szymborski Tremblay Uzunov Vandermeer Whitlock
    Ximenes Yamaguchi Zielinski Abernathy Bhattacharya Cavendish Duquesne Ferreira Goldblum Hollingsworth Ivanova
    Jayawardena Kowalczyk Lafontaine Marchetti Nakamura Osterhaus Pemberton Quintero Rosenthal Sorensen Thackeray
    Underhill Vaszary Wickramasinghe Yilmaz Zamora Baker Cooper Dixon Fletcher Grant Harper Hughes Mason Porter Reid
    Sutherland Turner Webb
"""
_ORG = ("Halewood", "Corvatec", "Brightmoor", "Solvanta", "Penhallow", "Tarnwell", "Ostrava", "Meridene")
_ORG_END = ("Logistics", "Insurance", "Dental", "Partners", "Software", "Foods", "Clinic", "Bank")
_PLACE = ("Leeds", "Ghent", "Porto", "Tampere", "Boise", "Adelaide", "Graz", "Cork", "Malmo", "Pune", "Tucson")
_DIAGNOSIS = ("type 2 diabetes", "migraine", "gout", "hypothyroidism", "sciatica", "atrial fibrillation", "eczema")
_DRUG = ("metformin", "lisinopril", "amoxicillin", "sertraline", "prednisone", "ibuprofen", "levothyroxine")
_STREET = ("Larch", "Mill", "Chapel", "Orchard", "Station", "Quarry", "Harbour", "Willow")
_MONTH = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November")
_WORD = ("harbor", "tulip", "falcon", "copper", "meadow", "violet", "thunder", "pepper")

# What stands in braces is a kind of span and, after a colon, a value of it that is named once more.
_SHORT = """
    {name} can be reached at {phone}
    please send the contract to {email}
    {name} was diagnosed with {diagnosis}
    the new password for {name} is {secret}
    {name} owes us {amount} since {date}
    refund of {amount} went to {name}
    {name} moved to {place} on {date}
    wire {amount} to {iban}
    call {name} back on {phone} about the loan
    {name} takes {dose} of {drug} twice a day
    door code is {secret}, ask {name}
    {name} resigned on {date}
    meeting with {name} from {org} on {date}
    {name} lives at {address}
    my card number is {card}
    {name}'s e-mail is {email}
    {name} failed the drug test at {org}
    appointment for {name} on {date} at {time}
    case {id} was reopened by {name}
    salary of {name} raised to {amount}
"""
_LONG = """
    After the fall on {date}, {name} complained of dizziness and was given {dose} {drug}; the daughter can be called
    at {phone}.
    We agreed with {name} of {org} that {amount} is due by {date}, otherwise the matter goes to our lawyers.
    {name} wrote from {email} that the parcel {id} never arrived at {address} and wants {amount} back.
    As discussed, {name} will leave {org} on {date}; please lock the account {user} and change the password {secret}.
    Biopsy of {date} confirms {diagnosis}. {name} has been told and starts {drug} {dose} on {date}.
    The tenant {name}, {address}, is two months behind and promised to pay {amount} to {iban} before {date}.
    During the interview {name} mentioned a gap in {place} after a burnout; references are {name} and {name}.
    Fraud desk: card {card} of {name} was used in {place} at {time}, {amount}, customer called from {phone}.
    Server {ip} was opened to {user} with the key {secret} by {name}, which nobody at {org} had approved.
    {name} and {name} are separating, so from {date} letters go to {address} and calls to {phone}.
    Complaint {id}: {name} says that the nurse in {place} gave {dose} of {drug} though the chart warns of {diagnosis}.
    School note for {name}: father {name}, {phone}, must not collect the child after the ruling of {date}.
"""


@dataclass(frozen=True)
class Planted:
    """A text and its spans as start, end, kind (characters)."""

    text: str
    spans: tuple[tuple[int, int, str], ...]

    def values(self, *kinds: str) -> list[str]:
        """The spans' texts, of those kinds alone if any are given."""
        return [self.text[start:end] for start, end, kind in self.spans if not kinds or kind in kinds]


def invented(seed: int = 0, *, long: bool = False) -> Iterator[Planted]:
    """Records without end, the same for the same seed: a sentence of 5 to 15 words, or of 20 to 30 if `long`."""
    draw = random.Random(seed)
    templates = _sentences(_LONG) if long else [line.strip() for line in _SHORT.strip().splitlines()]
    while True:
        yield _filled(draw.choice(templates), draw)


def chunks(seed: int, words: int) -> Iterator[Planted]:
    """Passages of several sentences, of at least `words` words each."""
    draw = random.Random(seed)
    both = (invented(draw.randrange(2**31)), invented(draw.randrange(2**31), long=True))
    while True:
        text, spans = "", list[tuple[int, int, str]]()
        while len(text.split()) < words:
            one = next(draw.choice(both))
            sentence = one.text[:1].upper() + one.text[1:] + ("" if one.text.endswith(".") else ".")
            start = len(text) + bool(text)
            text = f"{text} {sentence}".strip()
            spans += [(start + first, start + last, kind) for first, last, kind in one.spans]
        yield Planted(text, tuple(spans))


def _sentences(given: str) -> list[str]:
    return re.findall(r"\S.*?[.](?=\s*(?:\n    [A-Z{]|$))", re.sub(r"\n\s+(?=[a-z])", " ", given), re.DOTALL)


def _filled(template: str, draw: random.Random) -> Planted:
    text, spans, place = "", list[tuple[int, int, str]](), 0
    for match in re.finditer(r"\{(\w+)\}", template):
        text += template[place : match.start()]
        value = _MAKE[match[1]](draw)
        spans.append((len(text), len(text) + len(value), match[1]))
        text, place = text + value, match.end()
    return Planted(text + template[place:], tuple(spans))


def _digits(draw: random.Random, pattern: str) -> str:
    return "".join(str(draw.randrange(10)) if c == "#" else c for c in pattern)


def _name(draw: random.Random) -> str:
    first, last = draw.choice(_FIRST.split()), draw.choice(_LAST.split())
    form = draw.random()
    if form < 0.1:
        return first
    if form < 0.2:
        return f"{draw.choice(('Dr.', 'Mr.', 'Ms.'))} {last}"
    return f"{first} {last}" if form < 0.95 else f"{first} {draw.choice('ABCDEFGJKLMPRST')}. {last}"


def _phone(draw: random.Random) -> str:
    area = draw.choice((212, 310, 415, 617, 720, 206))
    form = draw.choice(("{}-555-01##", "({}) 555-01##", "+1 {} 555 01##", "020 7946 0###", "07700 900###"))
    return _digits(draw, form.format(area))


def _email(draw: random.Random) -> str:
    first, last = (draw.choice(words.split()).lower() for words in (_FIRST, _LAST))
    form = draw.choice((f"{first}.{last}", f"{first[0]}{last}", f"{last}_{first}"))
    return f"{form}@{draw.choice(('example.com', 'example.org', 'mail.example.net'))}"


def _date(draw: random.Random) -> str:
    day, month, year = draw.randint(1, 28), draw.randrange(len(_MONTH)), draw.randint(1961, 2026)
    named, number = _MONTH[month], month + 1
    forms = (
        f"{day} {named} {year}",
        f"{named} {day}, {year}",
        f"{year}-{number:02}-{day:02}",
        f"{day}/{number}/{year}",
    )
    return draw.choice((*forms, f"{named} {day}"))


def _amount(draw: random.Random) -> str:
    value = draw.choice((draw.randint(12, 990), draw.randint(1000, 98000)))
    return draw.choice((f"${value:,}", f"{value:,} euros", f"£{value:,}.{draw.randrange(10, 99)}", f"{value} dollars"))


def _secret(draw: random.Random) -> str:
    return draw.choice(
        (f"{draw.choice(_WORD)}{draw.randrange(10, 9999)}", _digits(draw, "####"),
         f"{draw.choice(_WORD)}-{draw.choice(_WORD)}-{draw.randrange(10, 99)}")
    )  # fmt: skip


def _card(draw: random.Random) -> str:
    """Sixteen digits that no bank gives: the check digit doesn't fit."""
    digits = _digits(draw, "4##############")
    doubled = sum(sum(divmod(2 * int(c), 10)) if place % 2 == 0 else int(c) for place, c in enumerate(digits))
    whole = digits + str((-doubled + draw.randint(1, 9)) % 10)
    return " ".join(whole[place : place + 4] for place in range(0, 16, 4))


_MAKE: dict[str, Callable[[random.Random], str]] = {
    "name": _name,
    "phone": _phone,
    "email": _email,
    "date": _date,
    "amount": _amount,
    "secret": _secret,
    "place": lambda draw: draw.choice(_PLACE),
    "org": lambda draw: f"{draw.choice(_ORG)} {draw.choice(_ORG_END)}",
    "diagnosis": lambda draw: draw.choice(_DIAGNOSIS),
    "drug": lambda draw: draw.choice(_DRUG),
    "dose": lambda draw: f"{draw.choice((5, 10, 20, 50, 250, 500))} mg",
    "iban": lambda draw: _digits(draw, "DE00 #### #### #### #### ##"),
    "card": _card,
    "id": lambda draw: _digits(draw, draw.choice(("TK-#####", "C/####/##", "R######"))),
    "address": lambda draw: (
        f"{draw.randrange(1, 240)} {draw.choice(_STREET)} {draw.choice(('Road', 'Street', 'Lane'))}"
    ),
    "time": lambda draw: f"{draw.randint(8, 18)}:{draw.choice(('00', '15', '30', '45'))}",
    "ip": lambda draw: _digits(draw, "10.#.##.1##"),
    "user": lambda draw: (
        f"{draw.choice(_FIRST.split())[0].lower()}{draw.choice(_LAST.split()).lower()}{draw.randint(1, 9)}"
    ),
}
