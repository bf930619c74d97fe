"""Pickles are walked: plain data comes out, nothing is ever imported or called."""

import pickle
from collections import OrderedDict
from dataclasses import dataclass

import pytest

from unembed.errors import InputError
from unembed_stores.pickles import Shell, walk

PLAIN = {
    "numbers": [1, -1, 255, 65536, 2**40, -(2**70), 1.5, float("inf")],
    "texts": ("", "a" * 300, "é"),
    "more": {2: None, True: False, "bytes": b"\x00\xff" * 200},
    "nested": [[[]], [{}], set(), {1, 2}, frozenset({3})],
    "vector": [0.5 * n for n in range(400)],
}
PLAIN["again"] = PLAIN["texts"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_out_as_it_went_in(protocol) -> None:
    data = PLAIN if protocol > 3 else {key: value for key, value in PLAIN.items() if key not in ("nested", "more")}
    assert walk(pickle.dumps(data, protocol)) == data


@dataclass
class Point:
    id: int
    vector: list[float]


def test_an_object_is_a_shell_with_its_attributes() -> None:
    found = walk(pickle.dumps(Point(7, [0.5, 0.25])))
    assert isinstance(found, Shell) and found.name.endswith("Point")
    assert found.attributes() == {"id": 7, "vector": [0.5, 0.25]}


def test_nothing_is_called(tmp_path) -> None:
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    found = walk(pickle.dumps({"x": Payload()}))["x"]
    assert isinstance(found, Shell) and found.name in ("io.open", "_io.open") and not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle",
        pickle.dumps(PLAIN)[:-30],
        pickle.dumps(PLAIN)[: len(pickle.dumps(PLAIN)) // 2],
        b"\x80\x04.",
        b"\x80\x04e.",
        b"\x80\x04h\x07.",
        b"\x80\x04G\x00.",
        b"\x80\x04(((((",
        b"\x80\x04]Q.",
        b"\x80\x04N}\x93.",
    ],
)
def test_what_is_damaged_is_an_input_error(data) -> None:
    with pytest.raises(InputError, match="it is") as caught:
        walk(data, "it")
    assert "\n" not in str(caught.value)


def test_a_dictionary_of_another_kind_keeps_its_items() -> None:
    assert walk(pickle.dumps(OrderedDict(a=1))).items == ["a", 1]
