"""What the numbers of vectors tell of how they were stored."""

from pathlib import Path

import numpy as np
import pytest

import unembed
from unembed.errors import InputError
from unembed.sources.undo import advise, from_ranges, recognise

CASES = Path(__file__).parents[4] / "shared" / "cases"
ROWS = np.random.default_rng(0).normal(size=(200, 48)).astype(np.float32) * 0.05


def quantised(rows: np.ndarray, low: np.ndarray, high: np.ndarray, offset: int) -> np.ndarray:
    return (np.round((rows - low) / (high - low) * 255) - offset).astype(np.float32)


def test_nothing_is_seen_in_plain_vectors() -> None:
    assert recognise(ROWS) is None and recognise(ROWS, 48) is None and recognise(ROWS, 96) is None
    assert recognise(np.full((3, 48), np.nan, np.float32)) is None


@pytest.mark.parametrize("offset", [0, 128])
@pytest.mark.parametrize("width", [48, 45])
def test_sign_bits_are_unpacked(offset, width) -> None:
    packed = np.packbits(ROWS[:, :width] > 0, axis=1).astype(np.float32) - offset
    found = recognise(packed, width)
    assert found is not None and found.precision == "sign" and "sign bits" in found.note
    assert np.array_equal(found.apply(packed), np.where(ROWS[:, :width] > 0, 1, -1))
    assert recognise(packed, 96) is None


@pytest.mark.parametrize(("stored", "note"), [(lambda r: np.sign(r), "signs"), (lambda r: (r > 0) * 1.0, "bits")])
def test_signs_and_bits_a_number_each(stored, note) -> None:
    found = recognise(stored(ROWS).astype(np.float32), 48)
    assert found is not None and found.precision == "sign" and note in found.note
    assert np.array_equal(found.apply(stored(ROWS).astype(np.float32)), np.sign(ROWS))


def test_padding_is_dropped_and_other_numbers_are_not() -> None:
    padded = np.concatenate([ROWS, np.zeros((200, 16), np.float32)], axis=1)
    found = recognise(padded, 48)
    assert found is not None and found.width == 48 and "16 of padding" in found.note
    assert np.array_equal(found.apply(padded), ROWS)
    padded[7, 50] = 0.1
    assert recognise(padded, 48) is None


@pytest.mark.parametrize("offset", [0, 128])
def test_codes_of_one_scale(offset) -> None:
    codes = np.clip(np.round(ROWS / 0.2 * 127), -127, 127).astype(np.float32) + offset
    found = recognise(codes, 48)
    assert found is not None and found.precision == "int8" and "one scale" in found.note and not found.needs_ranges
    assert np.array_equal(found.apply(codes), codes - offset)


@pytest.mark.parametrize("offset", [0, 128])
def test_codes_of_own_ranges_ask_for_them_and_are_undone_by_them(offset) -> None:
    low, high = np.quantile(ROWS, 0.02, axis=0), np.quantile(ROWS, 0.98, axis=0)
    inside = np.clip(ROWS, low, high)
    codes = quantised(inside, low, high, offset)
    found = recognise(codes, 48)
    assert found is not None and found.needs_ranges and "give the ranges" in found.note
    back = from_ranges(np.stack([low, high]), signed=bool(offset)).apply(codes)
    assert np.abs(back - inside).max() < 0.002


def test_codes_that_wrapped_around_are_damaged() -> None:
    codes = (np.round(ROWS / 0.05 * 127).astype(np.int64)).astype(np.int8).astype(np.float32)
    found = recognise(codes, 48)
    assert found is not None and "damaged" in found.note


def test_integers_that_are_no_codes_are_left_alone() -> None:
    assert recognise(np.arange(480, dtype=np.float32).reshape(10, 48), 48) is None
    assert recognise(np.tile(np.array([0, 1, 2], np.float32), (4, 16)), 48) is None


@pytest.mark.parametrize("ranges", [np.zeros(48), np.zeros((3, 48)), np.array([[1.0], [0.0]]), np.full((2, 4), np.nan)])
def test_ranges_of_another_shape_are_refused(ranges) -> None:
    with pytest.raises(InputError, match="two rows"):
        from_ranges(ranges, signed=True)


def test_ranges_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match="of 4 dimensions, the vectors are 48 wide"):
        from_ranges(np.array([[0.0] * 4, [1.0] * 4]), signed=True).apply(ROWS)


def test_advice_on_other_widths() -> None:
    assert "cut?" in advise(256, 384) and "another model" in advise(768, 384) and "sign bits" in advise(40, 384)


def test_a_source_undoes_and_says_so(tmp_path) -> None:
    packed = np.packbits(ROWS > 0, axis=1)
    np.save(tmp_path / "bits.npy", packed)
    source = unembed.open_source(tmp_path / "bits.npy", width=48)
    assert source.width == 48 and source.precision == "sign" and any("sign bits" in note for note in source.notes)
    assert np.array_equal(next(source.batches()).vectors, np.where(ROWS > 0, 1, -1))
    plain = unembed.open_source(tmp_path / "bits.npy", width=48, undo=False)
    assert plain.width == 6 and plain.precision == "float"


FIELD = {
    "bits.npy": ("sign", 384, "sign bits"),
    "bits-offset.npy": ("sign", 384, "sign bits"),
    "signs.npy": ("sign", 384, "signs"),
    "padded-512.npy": ("float", 384, "padding"),
    "int8-own-ranges.npy": ("int8", 384, "give the ranges"),
    "int8-wrapped.npy": ("int8", 384, "damaged"),
    "first-256.npy": ("float", 256, "cut?"),
    "../numpy/int8.npy": ("int8", 384, "one scale"),
    "../numpy/uint8.npy": ("int8", 384, "give the ranges"),
}


@pytest.mark.reference
@pytest.mark.parametrize("name", FIELD)
def test_field_inputs_are_recognised(name) -> None:
    precision, width, note = FIELD[name]
    source = unembed.open_source(CASES / "field" / name, width=384)
    assert (source.precision, source.width) == (precision, width)
    assert any(note in said for said in source.notes), source.notes


@pytest.mark.reference
def test_padding_and_given_ranges_give_the_vectors_back() -> None:
    right = np.load(CASES / "numpy" / "float32.npy")
    assert np.array_equal(
        next(unembed.open_source(CASES / "field" / "padded-512.npy", width=384).batches()).vectors, right[:3]
    )
    with np.load(CASES / "numpy" / "uint8-ranges.npz") as ranges:
        low_high = np.stack([ranges["low"], ranges["high"]])
    for name, signed in (("../numpy/uint8.npy", False), ("int8-own-ranges.npy", True)):
        source = unembed.open_source(CASES / "field" / name, width=384, ranges=low_high)
        vectors = next(source.batches()).vectors
        cosine = (vectors * right[: len(vectors)]).sum(1) / np.linalg.norm(vectors, axis=1)
        assert cosine.min() > 0.999 and source.precision == "int8", signed
