"""How much the values of a group changed: two streams of its bytes enter, one :class:`Statistics` leaves.

Blocks of both sides pass in lockstep; sums are float64, whatever the dtype, and memory is a few blocks, whatever
the size of the group. What always holds: an element counts as changed when one bit of it differs, and nothing is
hidden by a tolerance; norms and cosine are over the elements that are finite on both sides, and equal those of plain
NumPy to 1e-6 and better.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from git_theta.diff.finding import HISTOGRAM, NoNumbers, Statistics
from git_theta.diff.rank import RankTracker
from git_theta.tensors.elements import Elements, Floats, Words, elements
from git_theta.tensors.feed import Feed

BLOCK = 1 << 16
"""Elements per block: the temporary arrays of one stay in the caches, and threads seldom wait for each other.

Of 2^13 to 2^17 this was the fastest, on two threads by 7% before 2^15.
"""

_HALF = 2.0**32

_SUSPICIOUS = 1e-250
"""Sums of squares below this may have lost bits to underflow."""


def measure(
    old: Feed,
    new: Feed,
    dtypes: tuple[str, str],
    count: int,
    *,
    columns: int | None = None,
    histogram: bool = False,
) -> Statistics:
    """Statistics over the next ``count`` elements of both streams, whose dtypes are ``dtypes``.

    ``columns`` is the row length of a matrix; with it, the rank of the change is sought.
    """
    before, after = elements(dtypes[0]), elements(dtypes[1])
    tally = _Tally(before, after, columns, histogram)
    with np.errstate(all="ignore"):  # NaN and infinity are counted, not warned of
        for at in range(0, count, BLOCK):
            part = min(count - at, BLOCK)
            tally.add(before.words(old.take(part * before.size)), after.words(new.take(part * after.size)))
    return tally.statistics(count)


def measure_rows(
    old: Feed, new: Feed, dtype: str, rows: int, lengths: tuple[int, int], histogram: bool = False
) -> tuple[Statistics, NoNumbers]:
    """Over the next ``rows`` rows of both streams, of other ``lengths``: as far as both go, and what only the new has.

    A row of either side is held in memory.
    """
    reader, common = elements(dtype), min(lengths)
    tally, came = _Tally(reader, reader, None, histogram), NoNumbers()
    at_once = max(1, BLOCK // max(*lengths, 1))
    with np.errstate(all="ignore"):
        for at in range(0, rows if max(lengths) else 0, at_once):
            part = min(rows - at, at_once)
            before, after = (
                reader.words(feed.take(part * length * reader.size)).reshape(part, length * reader.parts)
                for feed, length in zip((old, new), lengths, strict=True)
            )
            if common:
                both = slice(common * reader.parts)
                tally.add(before[:, both].ravel(), after[:, both].ravel())
            came += _no_numbers(reader, after[:, common * reader.parts :].ravel())
    return tally.statistics(rows * common), came


def no_numbers(feed: Feed, dtype: str, count: int) -> NoNumbers:
    """What of the next ``count`` elements is none; a complex number is so by one part of it, or by both."""
    reader, found = elements(dtype), NoNumbers()
    if reader.floating:
        with np.errstate(all="ignore"):
            for at in range(0, count, BLOCK):
                found += _no_numbers(reader, reader.words(feed.take(min(count - at, BLOCK) * reader.size)))
    return found


def _no_numbers(reader: Elements, words: Words) -> NoNumbers:
    if not reader.floating:
        return NoNumbers()
    values = words.view(reader.native) if reader.native.isbuiltin == 1 else reader.values(words)
    if np.isfinite(values).all():
        return NoNumbers()
    parts = reader.parts
    return NoNumbers(*(int(np.count_nonzero(_any(of(values), parts))) for of in (np.isnan, np.isinf)))


def _any(words: NDArray[np.bool_], parts: int) -> NDArray[np.bool_]:
    """Of which elements at least one word is true."""
    return words if parts == 1 else np.asarray(words.reshape(-1, parts).any(axis=1), np.bool_)


class _Tally:
    """Running sums over blocks. Each sum has its own unit, a power of two: one side may be huge, the other tiny."""

    def __init__(self, old: Elements, new: Elements, columns: int | None, histogram: bool) -> None:
        self._old, self._new = old, new
        self._same_dtype = old.native == new.native and old.parts == new.parts
        self._numeric = old.numeric and new.numeric and old.parts == new.parts
        self._wide = 8 in (old.native.itemsize, new.native.itemsize)
        self._exact = any(_is_wide_integer(side) for side in (old, new))
        self._changed = self._finite = self._one_ulp = self._converted = 0
        self._nan_in = self._nan_out = self._inf_in = self._inf_out = self._inf_other = 0
        self._bits_only = self._same_dtype
        self._sums = np.zeros(4)  # old·old, new·new, old·new, change·change
        self._units = np.zeros(4, np.int64)  # exponents of 2
        self._largest = 0.0
        self._was_zero = self._is_zero = True
        self._histogram = np.zeros(len(HISTOGRAM), np.int64) if histogram else None
        wanted = columns and self._numeric and new.floating and new.parts == 1
        self._rank = RankTracker(columns, _epsilon(new.native)) if columns and wanted else None

    def add(self, old: Words, new: Words) -> None:
        """Take in the next block of both sides."""
        changed = self._count(old != new) if self._same_dtype else 0
        if not self._numeric:
            self._changed += changed
            return
        # While the words are in the cache; counted again of those that are finite, where some are not.
        ulps = self._neighbours(old, new, changed)
        before, after = self._old.values(old), self._new.values(new)
        change = _difference(self._old, self._new, old, new) if self._exact else after - before
        if not self._same_dtype:
            changed = self._count(self._other_number(before, after, change))
            casts = self._is_cast(old, new, before, change)
            self._converted += len(casts) // self._old.parts - self._count(~casts)
        finite = changed
        self._changed += changed
        sums = _products(before, after, change)
        # Squares of narrow words never vanish in float64, so a sum of 0 says that there are only zeros.
        self._was_zero = self._was_zero and not sums[0] and not (self._wide and before.any())
        self._is_zero = self._is_zero and not sums[1] and not (self._wide and after.any())
        if not np.isfinite(sums).all() or (self._wide and min(sums[0], sums[1], sums[3]) < _SUSPICIOUS):
            usable = ~np.repeat(_any(~(np.isfinite(before) & np.isfinite(after)), self._old.parts), self._old.parts)
            self._count_not_finite(before, after)
            differs = old != new if self._same_dtype else self._other_number(before, after, change)
            finite = self._count(differs & usable)
            ulps = self._neighbours(old[usable], new[usable], finite)
            before, after, change = (np.where(usable, values, 0) for values in (before, after, change))
            self._add_scaled(before, after, change)
            if not usable.all():
                self._rank = None  # a change that is no number has none
        else:
            self._accumulate(sums, np.zeros(4, np.int64))
        self._finite += finite
        self._one_ulp += ulps
        self._magnitudes(change)
        if self._rank:
            self._rank.add(change, after)

    def _count(self, words: NDArray[np.bool_]) -> int:
        """In how many elements at least one word is true."""
        return int(np.count_nonzero(_any(words, self._old.parts)))

    def _other_number(self, before: Floats, after: Floats, change: Floats) -> NDArray[np.bool_]:
        """Which words of other dtypes are not the same number."""
        return np.asarray(change != 0, np.bool_) if self._exact else _unequal(before, after)

    def _is_cast(self, old: Words, new: Words, before: Floats, change: Floats) -> NDArray[np.bool_]:
        """Which words are the old ones as their new dtype has them: the nearest, or an integer next to it."""
        if self._new.floating:
            cast, there = old.view(self._old.native).astype(self._new.native), new.view(self._new.native)
            return ~_unequal(cast, there)
        # Cut or rounded; an integer in another dtype is the same number or another one.
        return np.asarray((change == np.trunc(before) - before) | (change == np.rint(before) - before), np.bool_)

    def _neighbours(self, old: Words, new: Words, changed: int) -> int:
        """How many elements moved by one ulp, of words that are finite on both sides."""
        if not (changed and self._same_dtype and self._new.floating and self._new.parts == 1):
            return 0
        return _neighbours(old, new, len(old) - changed, signed=self._new.native.name != "float8_e8m0fnu")

    def _count_not_finite(self, before: Floats, after: Floats) -> None:
        """What became NaN or infinite, what is so no more, and whether anything but bits changed."""
        parts = self._old.parts
        was, now = _any(np.isnan(before), parts), _any(np.isnan(after), parts)
        self._nan_in += int(np.count_nonzero(now & ~was))
        self._nan_out += int(np.count_nonzero(was & ~now))
        was, now = _any(np.isinf(before), parts), _any(np.isinf(after), parts)
        self._inf_in += int(np.count_nonzero(now & ~was))
        self._inf_out += int(np.count_nonzero(was & ~now))
        other = _unequal(before, after)
        self._inf_other += int(np.count_nonzero(was & now & _any(other, parts)))
        self._bits_only = self._bits_only and not other.any()

    def _add_scaled(self, before: Floats, after: Floats, change: Floats) -> None:
        """As the plain sums, where squares would leave the range of float64."""
        old, new = _exponent(before), _exponent(after)
        if not np.isfinite(change).all():
            step = max(old, new) + 1
            change = np.ldexp(after, -step) - np.ldexp(before, -step)
        else:
            step = _exponent(change)
            change = np.ldexp(change, -step)
        units = np.array([2 * old, 2 * new, old + new, 2 * step])
        self._accumulate(_products(np.ldexp(before, -old), np.ldexp(after, -new), change), units)

    def _accumulate(self, sums: Floats, units: NDArray[np.int64]) -> None:
        """Add sums in units of powers of two, each to what there is, in the larger unit of the two."""
        if not (units.any() or self._units.any()):
            self._sums += sums
            return
        common = np.where(self._sums == 0, units, np.where(sums == 0, self._units, np.maximum(units, self._units)))
        self._sums = np.ldexp(self._sums, self._units - common) + np.ldexp(sums, units - common)
        self._units = common

    def _magnitudes(self, change: Floats) -> None:
        if self._old.parts == 2:
            change = np.hypot(change[0::2], change[1::2])
        self._largest = max(self._largest, float(change.max()), -float(change.min()))
        if self._histogram is not None:
            exponents = np.frexp(np.minimum(np.abs(change[change != 0]), np.finfo(np.float64).max))[1]
            kept = np.clip(exponents, HISTOGRAM[0], HISTOGRAM[-1]) - HISTOGRAM[0]
            self._histogram += np.bincount(kept, minlength=len(HISTOGRAM))

    def statistics(self, count: int) -> Statistics:
        """What was found over ``count`` elements."""
        if not self._numeric:
            return Statistics(count, self._changed, numeric=False)
        old, new, product, change = (float(found) for found in self._sums)
        halves = [int(unit) for unit in self._units // 2]  # a norm's unit; that of the product may be odd
        norms = math.sqrt(old) * math.sqrt(new)
        angle = int(self._units[2]) - halves[0] - halves[1]
        return Statistics(
            count,
            self._changed,
            finite=self._finite,
            one_ulp=self._one_ulp,
            converted=self._converted,
            bits_only=bool(self._changed and self._bits_only and not self._largest),
            old_norm=_ldexp(math.sqrt(old), halves[0]),
            new_norm=_ldexp(math.sqrt(new), halves[1]),
            delta_norm=_ldexp(math.sqrt(change), halves[3]),
            relative=_ldexp(math.sqrt(change) / math.sqrt(old), halves[3] - halves[0]) if old else None,
            largest=self._largest,
            cosine=(_bounded(_ldexp(product / norms, angle)) if self._largest else 1.0) if norms else None,
            nan_in=self._nan_in,
            nan_out=self._nan_out,
            inf_in=self._inf_in,
            inf_out=self._inf_out,
            inf_other=self._inf_other,
            became_zero=self._is_zero and not self._was_zero,
            rank=self._rank.rank if self._rank else None,
            histogram=() if self._histogram is None else tuple(int(n) for n in self._histogram),
        )


def _unequal(old: NDArray[Any], new: NDArray[Any]) -> NDArray[np.bool_]:
    """Which numbers differ; NaN is equal to NaN."""
    return np.asarray((old != new) & ~(np.isnan(old) & np.isnan(new)), np.bool_)


def _is_wide_integer(reader: Elements) -> bool:
    """Whether float64 cannot hold every element."""
    return reader.numeric and not reader.floating and reader.native.itemsize == 8


def _difference(before: Elements, after: Elements, old: Words, new: Words) -> Floats:
    """New less old, rounded once, where a side has 64-bit integers: 0 only where both are the same number."""
    (high, low), (new_high, new_low) = _halves(before, old), _halves(after, new)
    return (new_high - high) * _HALF + (new_low - low)


def _halves(reader: Elements, words: Words) -> tuple[Floats, Floats]:
    """Each number as a multiple of 2^32 and a rest of the same sign, both exact."""
    if not _is_wide_integer(reader):
        values = reader.values(words)
        high = np.trunc(values / _HALF)
        return high, values - high * _HALF
    high = (words.view(reader.native) >> 32).astype(np.float64)
    negative = high < 0
    return high + negative, (words & np.uint64(0xFFFFFFFF)).astype(np.float64) - _HALF * negative


def _products(before: Floats, after: Floats, change: Floats) -> Floats:
    """The sums of squares and the scalar product, in the order of the tally."""
    pairs = ((before, before), (after, after), (before, after), (change, change))
    return np.array([np.dot(a, b) for a, b in pairs])


def _neighbours(old: Words, new: Words, equal: int, signed: bool) -> int:
    """How many words are one apart, of which ``equal`` are equal: in words of one sign, one unit in the last place."""
    distance = new - old
    distance += old.dtype.type(1)
    near = np.flatnonzero(distance <= old.dtype.type(2))  # most often few: the signs of the others need no look
    if len(near) <= equal:
        return 0
    sign = old.dtype.type(1 << (8 * old.dtype.itemsize - 1))
    return int(np.count_nonzero((old[near] ^ new[near]) < sign) if signed else len(near)) - equal


def _epsilon(native: np.dtype[Any]) -> float:
    """The distance from 1 to the next number."""
    if native.isbuiltin == 1:
        return float(np.finfo(native).eps)
    import ml_dtypes

    return float(ml_dtypes.finfo(native).eps)


def _exponent(values: Floats) -> int:
    """Of the least power of two above the largest magnitude; 0 without any."""
    return math.frexp(float(np.abs(values).max()))[1]


def _ldexp(value: float, exponent: int) -> float:
    """``value`` times a power of two; infinity beyond the range of float64."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def _bounded(cosine: float) -> float:
    """Without the last two digits, which are those of the sums' order, and that is not the same on every machine."""
    return max(-1.0, min(1.0, round(cosine, 14)))
