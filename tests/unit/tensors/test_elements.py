"""Numbers become elements by one exact rounding, checked against fractions; elements become the numbers they are."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from git_theta.tensors.elements import elements

SMALL = [
    "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3",
]  # fmt: skip
"""Dtypes of which all elements can be listed."""

WITHOUT_INFINITY = {"float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz"}


def positive(dtype: str) -> NDArray[np.float64]:
    """All finite elements from 0 on, in ascending order; the place of each is its word."""
    reading = elements(dtype)
    words = np.arange(1 << (8 * reading.size - 1)).astype(reading.stored)
    values = reading.values(reading.words(words.tobytes()))
    return values[np.isfinite(values)]


def nearest(table: list[Fraction], number: Fraction) -> int:
    """The word of the element nearest to ``number``, of two equally near ones the even one; too many for overflow."""
    above = bisect_left(table, number)
    if above == 0:
        return 0
    following = table[above] if above < len(table) else 2 * table[-1] - table[-2]
    down, up = number - table[above - 1], following - number
    return above - 1 if down < up or (down == up and above % 2 == 1) else above


def probes(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Elements, the middles between them, numbers next to those, random ones, and some beyond."""
    rng = np.random.default_rng(0)
    last = len(table) - 1
    at = np.unique(np.concatenate([np.arange(6), np.arange(last - 5, last), rng.integers(0, last, 250)]))
    middles = (table[at] + table[at + 1]) / 2
    beyond = table[-1] + (table[-1] - table[-2]) / 2
    exact = np.concatenate([table[at], middles, [table[-1], beyond]])
    beside = [np.nextafter(exact, 0), np.nextafter(exact, np.inf), exact * (1 + 2.0**-30), exact * (1 - 2.0**-30)]
    spread = 2.0 ** rng.uniform(np.log2(table[1]) - 3, np.log2(table[-1]) + 1, 500)
    return np.concatenate([exact, *beside, spread, [5e-324, 1e-300, 1e300]])


@pytest.mark.parametrize("dtype", [*SMALL, "float16_be", "bfloat16_be"])
def test_a_number_becomes_the_nearest_element_and_ties_go_to_the_even_one(dtype: str) -> None:
    reading, table = elements(dtype), positive(dtype)
    exact = [Fraction(value) for value in table.tolist()]
    numbers = probes(table)
    words = reading.words(reading.encode(numbers)).tolist()
    opposite = reading.values(reading.words(reading.encode(-numbers))).tolist()
    for number, word, negative in zip(numbers.tolist(), words, opposite, strict=True):
        expected = nearest(exact, Fraction(number))
        if expected < len(table):
            assert word == expected, number.hex()
            assert negative == -table[expected], number.hex()
        else:
            assert np.isnan(negative) if dtype in WITHOUT_INFINITY else negative == -np.inf, number.hex()


def test_a_float32_is_the_nearest_to_its_number() -> None:
    rng = np.random.default_rng(1)
    below = (rng.normal(size=300) * 2.0 ** rng.integers(-149, 127, 300)).astype("f4")
    above = np.nextafter(below, np.float32(np.inf))
    middles = (below.astype("f8") + above) / 2
    numbers = np.concatenate([middles, np.nextafter(middles, -np.inf), np.nextafter(middles, np.inf)])
    found = np.frombuffer(elements("float32").encode(numbers), "<f4")
    for number, at, down, up in zip(numbers.tolist(), found, np.tile(below, 3), np.tile(above, 3), strict=True):
        errors = [abs(Fraction(float(each)) - Fraction(number)) for each in (down, up)]
        even = [int(each.view("u4")) % 2 == 0 for each in (down, up)]
        pick = errors[1] < errors[0] or (errors[1] == errors[0] and even[1])
        assert at == (up if pick else down), number.hex()


@pytest.mark.parametrize("dtype", ["float64", "float64_be", "complex128"])
def test_a_float64_stays_as_it_is(dtype: str) -> None:
    numbers = np.array([0.1, -0.0, 5e-324, 1.7976931348623157e308, -np.inf, 2.0])
    reading = elements(dtype)
    assert reading.values(reading.words(reading.encode(numbers))).tobytes() == numbers.tobytes()


def test_a_number_just_beside_the_middle_is_not_rounded_twice() -> None:
    beside = np.array([1 + 2.0**-8 + 2.0**-40])  # between 1 and the next bfloat16, nearer to that one
    once = elements("bfloat16").encode(beside)
    twice = beside.astype("f4").astype(ml_dtypes.bfloat16).tobytes()
    assert np.frombuffer(once, "u2") == np.frombuffer(twice, "u2") + 1


@pytest.mark.parametrize("dtype", [*SMALL, "float32", "float64", "complex64"])
def test_every_nan_becomes_the_same_element(dtype: str) -> None:
    quiet = np.array([0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001, 0x7FF0000000000001], "u8")
    written = elements(dtype).encode(quiet.view("f8"))
    size = elements(dtype).stored.itemsize
    assert len({written[at : at + size] for at in range(0, len(written), size)}) == 1
    assert np.isnan(elements(dtype).values(elements(dtype).words(written))).all()


def test_elements_come_back_from_their_own_numbers() -> None:
    for dtype in SMALL:
        reading, table = elements(dtype), positive(dtype)
        assert reading.words(reading.encode(table)).tolist() == list(range(len(table)))


@pytest.mark.parametrize("dtype", ["float8_e8m0fnu", "int8", "bool", "q4_0", "float4_e2m1fn", "opaque"])
def test_what_has_no_nearest_element_is_refused(dtype: str) -> None:
    assert not elements(dtype).writable
    with pytest.raises(ValueError, match="no nearest element"):
        elements(dtype).encode(np.ones(2))
