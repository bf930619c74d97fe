"""Writes passages of five kinds about things that never happened, from sentences with alternatives.

`[a|b]` is one of several, `{slot}` a value drawn from its list. Nobody and nothing here is real.
"""

import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["KINDS", "passages"]

SLOTS = {
    "first": "Adaeze Benedikt Chiara Dorian Elif Farouk Greta Hyun Ilse Joao Katya Lamar Mireille Niko Oksana Pablo "
    "Rosalind Siddharth Tamsin Umar Vera Wendell Xenia Yannick Zofia Alice Bernard Colin Deborah Edith Frank Gloria "
    "Howard Irene Jacob Karen Leonard Miriam Norman Olivia Peter",
    "last": "Abara Brandstetter Calloway Dekker Esposito Fairweather Grunwald Holmqvist Ibekwe Juarez Kaminski "
    "Lockhart Moreau Nakagawa Ortega Pellegrini Rutherford Stanhope Tanaka Ueda Verhoeven Wainwright Yardley Zimmer "
    "Barnes Clarke Ellis Foster Graham Harris Jenkins Lewis Morgan Parker Robinson Stewart Walsh",
    "town": "Ardlow Bexmere Calder|Point Dunmoor Eastvale Farrowby Glenhurst Harwick Inverlay Kestrel|Bay Lowmark "
    "Millbrook Northam Oldcastle Penwick Ravensford Saltmarsh Thornbury Upwell Westerleigh",
    "country": "Austria Bolivia Canada Denmark Estonia Finland Ghana Hungary Iceland Jordan Kenya Latvia Malaysia "
    "Norway Peru Portugal Romania Slovenia Tunisia Uruguay Zambia",
    "month": "January February March April May June July August September October November December",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "product": "kettle blender headset vacuum|cleaner router thermostat camera keyboard printer air|purifier "
    "coffee|maker toaster monitor speaker lamp e-reader smart|watch hair|dryer",
    "drug": "amlodipine atorvastatin bisoprolol cetirizine doxycycline furosemide gabapentin losartan omeprazole "
    "paracetamol ramipril salbutamol simvastatin tamsulosin warfarin",
    "illness": "asthma anaemia bronchitis cellulitis diverticulitis epilepsy glaucoma high|blood|pressure "
    "kidney|stones osteoarthritis pneumonia psoriasis rheumatoid|arthritis shingles tonsillitis",
    "part": "left|knee right|shoulder lower|back left|ankle right|hip neck left|wrist right|elbow abdomen chest",
    "team": "accounting facilities legal logistics marketing payroll procurement quality research security support",
    "firm": "Alderbank Brisco|Freight Corin|Textiles Dunlin|Energy Everglass Fenwood|Paper Gantry|Works Halcyon|Foods "
    "Kite|and|Marlow Lumen|Optics Northgate|Tiles Orrin|Labs",
}
NUMBERS = {
    "n": (2, 9), "nn": (11, 89), "nnn": (102, 970), "year": (1887, 2019), "old": (1502, 1880), "dose": (2, 40),
    "thousand": (3, 48), "hour": (8, 18), "dayofmonth": (1, 28), "id": (100000, 999999),
    "systolic": (108, 172), "diastolic": (62, 98), "pulse": (52, 108),
}  # fmt: skip

KINDS: dict[str, str] = tomllib.loads((Path(__file__).parent / "sentences.toml").read_text(encoding="utf-8"))


def _filled(sentence: str, draw: random.Random) -> str:
    sentence = re.sub(r"\[(.*?)\]", lambda match: draw.choice(match[1].split("|")), sentence)

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in NUMBERS:
            return str(draw.randint(*NUMBERS[name]))
        return draw.choice(SLOTS[name].split()).replace("|", " ")

    return re.sub(r"\{(\w+)\}", value, sentence)


def passages(kind: str, seed: int = 0) -> Iterator[str]:
    """Passages of two sentences of a kind, without end; every sentence begins one before any begins a second."""
    draw = random.Random(f"{kind} {seed}")
    sentences = KINDS[kind].strip().splitlines()
    while True:
        draw.shuffle(sentences)
        for place, sentence in enumerate(sentences):
            second = sentences[(place + 1 + draw.randrange(len(sentences) - 1)) % len(sentences)]
            first, second = _filled(sentence, draw), _filled(second, draw)
            yield f"{first}{'' if first[-1] in '.?' else '.'} {second}"
