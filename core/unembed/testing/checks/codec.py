"""The way in and out: objects to signals and back."""

from collections.abc import Sequence
from typing import Any

import torch

from unembed.contract.codec import SequenceCodec
from unembed.errors import InputError
from unembed.inversion.inverter import Inverter
from unembed.testing.checks._tools import equal, refused
from unembed.testing.suite import check

Objects = Sequence[Any]


@check()
def codec_gives_rows_of_one_shape(inverter: Inverter, objects: Objects) -> None:
    """Signals of all objects have one shape, whatever else is in the batch."""
    shapes = {tuple(inverter.codec.encode([item]).shape) for item in objects}
    shapes.add((1, *inverter.codec.encode(objects).shape[1:]))
    assert len(shapes) == 1, f"signals of different objects have different shapes: {sorted(shapes)}"


@check(codec_gives_rows_of_one_shape)
def codec_keeps_what_it_decoded(inverter: Inverter, objects: Objects) -> None:
    """What a signal decodes to encodes to that signal again."""
    signals = inverter.codec.encode(objects)
    again = inverter.codec.encode(inverter.codec.decode(signals))
    assert torch.equal(signals, again), "encode(decode(signals)) isn't signals"


@check(codec_gives_rows_of_one_shape)
def codec_takes_no_signals(inverter: Inverter, objects: Objects) -> None:
    """No signals decode to no objects."""
    equal(inverter.codec.decode(inverter.codec.encode(objects)[:0]), [], "no signals decoded")


@check()
def codec_refuses_nothing_at_all(inverter: Inverter, objects: Objects) -> None:
    """Encoding an empty list raises InputError."""
    refused(lambda: inverter.codec.encode([]), "encoding an empty list", InputError)


@check()
def codec_refuses_another_modality(inverter: Inverter, objects: Objects) -> None:
    """An object of a kind that the codec doesn't know raises InputError, not whatever happens to break."""
    refused(lambda: inverter.codec.encode([object()]), "encoding an object of no known kind", InputError)


@check(codec_gives_rows_of_one_shape, when=lambda inverter, objects: isinstance(inverter.codec, SequenceCodec))
def codec_cuts_sequences_to_their_first_elements(inverter: Inverter, objects: Objects) -> None:
    """`first` keeps the objects that are long enough, in order; one cut to its own length is unchanged."""
    codec = inverter.codec
    assert isinstance(codec, SequenceCodec)
    lengths = codec.lengths(objects)
    whole = codec.encode(objects)
    for length in sorted(set(lengths)):
        if length <= codec.width:
            cut = codec.first(objects, length)
            rows = [other for other in lengths if other >= length]
            equal(len(cut), len(rows), f"the objects with {length} elements or more")
            for signal, other, full in zip(cut, rows, whole[[x >= length for x in lengths]], strict=True):
                assert other != length or torch.equal(signal, full), "an object cut to its own length changed"
