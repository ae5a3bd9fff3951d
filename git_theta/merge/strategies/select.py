"""The k largest magnitudes of a group, exactly and without holding it: passes over blocks enter, a cut leaves.

A float64 without its sign orders like the integer its bits are. So the k-th largest is found digit by digit, 16 bits
at a time: a pass counts how many numbers have each digit, which says in which of them the k-th largest is. As soon
as the candidates are few they are fetched and sorted. What always holds: exactly k are taken, of equal magnitudes
those that come first; NaN counts as larger than infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from git_theta.merge.task import Block

Bits = NDArray[np.uint64]
Mask = NDArray[np.bool_]
Read = Callable[[], Iterable[Block]]
"""One pass over the numbers, the same ones every time."""

CANDIDATES = 1 << 20
"""So many numbers are held at once to be sorted, 8 MiB."""

_DIGIT = 16
_NAN = np.float64("nan").view(np.uint64)


def at_least(density: float, count: int) -> int:
    """How many ``density`` of ``count`` numbers are, rounded up: of a tiny group something always stays.

    The density is taken as the decimal number it was written as: 0.55 of 100 are 55, not 56.
    """
    return ceil(Fraction(str(density)) * count)


def at_most(density: float, count: int) -> int:
    """The same rounded down."""
    return floor(Fraction(str(density)) * count)


@dataclass(frozen=True, slots=True)
class Cut:
    """What divides the k largest magnitudes from the rest: those above ``edge``, and the first ``equal`` of its own."""

    edge: int
    equal: int

    @property
    def magnitude(self) -> float:
        """The smallest of the k."""
        return float(np.uint64(self.edge).view(np.float64))

    def masks(self) -> Masks:
        """A fresh pass."""
        return Masks(self)


class Masks:
    """One pass of a cut over the blocks in their order."""

    def __init__(self, cut: Cut) -> None:
        self._edge, self._equal = np.uint64(cut.edge), cut.equal

    def of(self, block: Block) -> Mask:
        """Which numbers of the next block are among the k largest."""
        bits = _magnitudes(block)
        taken: Mask = bits > self._edge
        if self._equal:
            first = np.flatnonzero(bits == self._edge)[: self._equal]
            taken[first] = True
            self._equal -= len(first)
        return taken


def largest(read: Read, counts: Sequence[int]) -> list[Cut]:
    """For each k in ``counts``, between 0 and how many numbers there are, where the k largest magnitudes end."""
    # Of each k-th largest number: its leading digits, as far as known, and how many have larger leading digits.
    places = [(0, 0)] * len(counts)
    for shift in range(64 - _DIGIT, -1, -_DIGIT):
        tables = _count(read, {prefix for prefix, _ in places}, shift)
        places, sizes = _descend(tables, places, counts)
        if sum(sizes.values()) <= CANDIDATES:
            return _finish(read, places, counts, shift)
    return [Cut(edge, k - above) for (edge, above), k in zip(places, counts, strict=True)]


def _magnitudes(block: Block) -> Bits:
    """Integers that order like the magnitudes; every NaN is the same one."""
    bits: Bits = np.abs(block).view(np.uint64)
    return np.minimum(bits, _NAN, out=bits)


def _count(read: Read, prefixes: set[int], shift: int) -> dict[int, NDArray[Any]]:
    """How many numbers have each digit at ``shift`` behind each of the prefixes."""
    tables: dict[int, NDArray[Any]] = {prefix: np.zeros(1 << _DIGIT, np.int64) for prefix in prefixes}
    for block in read():
        bits = _magnitudes(block)
        bits >>= np.uint64(shift)
        for prefix, table in tables.items():
            digits = bits - np.uint64(prefix << _DIGIT)  # numbers with smaller prefixes wrap around to huge ones
            inside = digits < 1 << _DIGIT
            digits = digits if inside.all() else digits[inside]
            np.add(table, np.bincount(digits.view(np.int64), minlength=1 << _DIGIT), out=table)
    return tables


def _descend(
    tables: dict[int, NDArray[Any]], places: Sequence[tuple[int, int]], counts: Sequence[int]
) -> tuple[list[tuple[int, int]], dict[int, int]]:
    """The places one digit further, and how many numbers there are behind each prefix."""
    found, sizes = [], {}
    for (prefix, above), k in zip(places, counts, strict=True):
        table = tables[prefix]
        downward = above + np.cumsum(table[::-1])  # how many numbers have this digit or a larger one
        step = int(np.searchsorted(downward, k))
        digit = len(table) - 1 - step
        longer = prefix << _DIGIT | digit
        sizes[longer] = int(table[digit])
        found.append((longer, int(downward[step]) - sizes[longer]))
    return found, sizes


def _finish(read: Read, places: Sequence[tuple[int, int]], counts: Sequence[int], shift: int) -> list[Cut]:
    """Fetch the numbers behind the prefixes, and look at the k-th."""
    fetched: dict[int, list[Bits]] = {prefix: [np.empty(0, np.uint64)] for prefix, _ in places}
    for block in read():
        bits = _magnitudes(block)
        for prefix, parts in fetched.items():
            parts.append(bits[bits >> np.uint64(shift) == prefix])
    ordered = {prefix: np.sort(np.concatenate(parts)) for prefix, parts in fetched.items()}
    cuts = []
    for (prefix, above), k in zip(places, counts, strict=True):
        numbers = ordered[prefix]
        if k == above:  # nothing of them is taken: only for k = 0, since a digit is reached where the k-th lies
            cuts.append(Cut((prefix << shift) | ((1 << shift) - 1), 0))
            continue
        edge = numbers[len(numbers) - (k - above)]
        larger = len(numbers) - int(np.searchsorted(numbers, edge, "right"))
        cuts.append(Cut(int(edge), k - above - larger))
    return cuts
