"""Inverters for the page's tests, a plugin: slow, of pictures, of hostile texts, broken.

It is installed beside the toy by the fixture `serve`.
"""

import struct
import time
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from unembed.costs.meter import Meter
from unembed.errors import InputError
from unembed.inversion.inverter import Inverter
from unembed.registry.hooks import hookimpl
from unembed.registry.specs import InverterSpec, Modality
from unembed.testing.toy import NearestWords, OneLetter, ToyCodec, ToyEmbedder

HOSTILE = "<img src=/leak.png onerror=alert(1)><script>alert(2)</script>"
SLEEP = 0.25  # seconds that the slow embedder takes for a batch
slept: list[float] = []


class SlowEmbedder(ToyEmbedder):
    def _embed(self, signals: Tensor) -> Tensor:
        if len(signals) < 100:  # not for the words that the hypothesizer knows
            slept.append(time.monotonic())
            time.sleep(SLEEP)
        return super()._embed(signals)


class HostileCodec(ToyCodec):
    word: ClassVar[str | None] = r"\w"

    def _encode(self, objects: Sequence[Any]) -> Tensor:
        return super()._encode([word.removeprefix(HOSTILE) for word in objects])

    def _decode(self, signals: Tensor) -> list[str]:
        return [HOSTILE + word for word in super()._decode(signals)]


class PaintedCodec(ToyCodec):
    """Files that hold a word, as bytes; what comes back is looked at."""

    word: ClassVar[str | None] = None

    def _encode(self, objects: Sequence[Any]) -> Tensor:
        return super()._encode([one.decode() if isinstance(one, bytes) else one for one in objects])


def painted(word: str) -> bytes:
    """A PNG of one pixel, whose colour tells the word."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colour = struct.pack(">I", zlib.crc32(word.encode()))[:3]
    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" + colour))
        + chunk(b"IEND", b"")
    )


def inverter(name: str, embedder: ToyEmbedder, codec: ToyCodec) -> Inverter:
    plain = NearestWords(ToyEmbedder(), ToyCodec())
    return Inverter(name=name, embedder=embedder, hypothesizer=plain, corrector=OneLetter(embedder.table), codec=codec)


def broken(device: Any) -> Inverter:
    raise InputError("its weights are <b>gone</b>: fetch them again")


def metered(device: Any) -> Inverter:
    embedder = ToyEmbedder(device)
    embedder.meter = Meter(price=1.0)
    return inverter("metered", embedder, ToyCodec())


def pictures(device: Any) -> Inverter:
    embedder = ToyEmbedder(device)
    embedder.modality = "painted"
    return inverter("painted", embedder, PaintedCodec())


@hookimpl
def register_inverters() -> list[InverterSpec]:
    return [
        InverterSpec("slow", "words, slowly", lambda device: inverter("slow", SlowEmbedder(device), ToyCodec())),
        InverterSpec("hostile", HOSTILE, lambda device: inverter("hostile", ToyEmbedder(device), HostileCodec())),
        InverterSpec("painted", "pictures", pictures),
        InverterSpec("metered", "words, for money", metered),
        InverterSpec("broken", "can't be opened", broken),
    ]


@hookimpl
def register_modalities() -> list[Modality]:
    return [Modality("painted", "pictures of words", picture=painted)]
