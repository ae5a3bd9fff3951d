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

BLOCK = 1 << 15
"""Elements per block: the temporary arrays of one stay in a core's cache."""

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


def no_numbers(feed: Feed, dtype: str, count: int) -> NoNumbers:
    """What of the next ``count`` elements is none; a complex number is so by one part of it, or by both."""
    reader = elements(dtype)
    if not reader.floating:
        return NoNumbers()
    nan = infinite = 0
    with np.errstate(all="ignore"):
        for at in range(0, count, BLOCK):
            words = reader.words(feed.take(min(count - at, BLOCK) * reader.size))
            values = words.view(reader.native) if reader.native.kind == "f" else reader.values(words)
            if not np.isfinite(values).all():
                parts = values.reshape(-1, reader.parts)
                nan += int(np.count_nonzero(np.isnan(parts).any(axis=1)))
                infinite += int(np.count_nonzero(np.isinf(parts).any(axis=1)))
    return NoNumbers(nan, infinite)


class _Tally:
    """Running sums over blocks. Sums of squares are in units of ``scale`` squared, a power of two."""

    def __init__(self, old: Elements, new: Elements, columns: int | None, histogram: bool) -> None:
        self._old, self._new = old, new
        self._same_dtype = old.native == new.native and old.parts == new.parts
        self._numeric = old.numeric and new.numeric and old.parts == new.parts
        self._wide = 8 in (old.native.itemsize, new.native.itemsize)
        self._changed = self._one_ulp = self._converted = self._nan_in = self._inf_in = 0
        self._scale = 1.0
        self._sums = np.zeros(4)  # old·old, new·new, old·new, change·change
        self._largest = 0.0
        self._was_zero = self._is_zero = True
        self._histogram = np.zeros(len(HISTOGRAM), np.int64) if histogram else None
        wanted = columns and self._numeric and new.floating and new.parts == 1
        self._rank = RankTracker(columns, float(_epsilon(new.native))) if columns and wanted else None

    def add(self, old: Words, new: Words) -> None:
        """Take in the next block of both sides."""
        if self._same_dtype:
            changed = self._count(old != new)
            self._changed += changed
        if not self._numeric:
            return
        before, after = self._old.values(old), self._new.values(new)
        if not self._same_dtype:
            alike = (before == after) | (np.isnan(before) & np.isnan(after))
            self._changed += self._count(~alike)
            cast = before.astype(self._new.native).astype(np.float64)
            self._converted += len(cast) // self._old.parts - self._count(
                (cast != after) & ~(np.isnan(cast) & np.isnan(after))
            )
        elif changed and self._new.floating and self._new.parts == 1:
            self._one_ulp += _neighbours(old, new, len(old) - changed)
        change = self._change(old, new, before, after)
        sums = _products(before, after, change)
        # Squares of narrow words never vanish in float64, so a sum of 0 says that there are only zeros.
        self._was_zero = self._was_zero and not sums[0] and not (self._wide and before.any())
        self._is_zero = self._is_zero and not sums[1] and not (self._wide and after.any())
        if not np.isfinite(sums).all() or (self._wide and min(sums[0], sums[1], sums[3]) < _SUSPICIOUS):
            before, after, change = self._finite(before, after, change)
            self._add_scaled(before, after, change)
        else:
            self._accumulate(sums, 1.0)
        self._magnitudes(change)
        if self._rank:
            self._rank.add(change, after)

    def _count(self, words: NDArray[np.bool_]) -> int:
        """In how many elements at least one word is true."""
        return int(np.count_nonzero(words if self._old.parts == 1 else words.reshape(-1, self._old.parts).any(axis=1)))

    def _change(self, old: Words, new: Words, before: Floats, after: Floats) -> Floats:
        native = self._old.native
        if self._same_dtype and native.kind in "iu" and native.itemsize == 8:
            # float64 would round both sides first; the distance of two integers fits an unsigned word.
            a, b = old.view(native), new.view(native)
            distance = np.maximum(a, b).view(np.uint64) - np.minimum(a, b).view(np.uint64)
            signed: Floats = np.where(a > b, -1.0, 1.0) * distance
            return signed
        return after - before

    def _finite(self, before: Floats, after: Floats, change: Floats) -> tuple[Floats, Floats, Floats]:
        """The block with zeros where a side is not finite, and how many became so counted."""
        self._nan_in += self._became(np.isnan(before), np.isnan(after))
        self._inf_in += self._became(np.isinf(before), np.isinf(after))
        usable = np.isfinite(before) & np.isfinite(after)
        return np.where(usable, before, 0), np.where(usable, after, 0), np.where(usable, change, 0)

    def _became(self, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> int:
        parts = self._old.parts
        return int(np.count_nonzero(after.reshape(-1, parts).any(axis=1) & ~before.reshape(-1, parts).any(axis=1)))

    def _add_scaled(self, before: Floats, after: Floats, change: Floats) -> None:
        """As the plain sums, where squares would leave the range of float64."""
        top = max(float(np.abs(before).max()), float(np.abs(after).max()))
        if top:
            scale = math.ldexp(1.0, min(max(math.frexp(top)[1], -1000), 1000))
            change = np.where(np.isfinite(change), change / scale, after / scale - before / scale)
            self._accumulate(_products(before / scale, after / scale, change), scale)

    def _accumulate(self, sums: Floats, scale: float) -> None:
        if not self._sums.any():
            self._scale = scale
        elif scale > self._scale:
            self._sums *= (self._scale / scale) ** 2
            self._scale = scale
        self._sums += sums * (scale / self._scale) ** 2

    def _magnitudes(self, change: Floats) -> None:
        if self._old.parts == 2:
            change = np.hypot(change[0::2], change[1::2])
        self._largest = max(self._largest, float(change.max()), -float(change.min()))
        if self._histogram is not None:
            exponents = np.frexp(change[change != 0])[1]
            kept = np.clip(exponents, HISTOGRAM[0], HISTOGRAM[-1]) - HISTOGRAM[0]
            self._histogram += np.bincount(kept, minlength=len(HISTOGRAM))

    def statistics(self, count: int) -> Statistics:
        """What was found over ``count`` elements."""
        if not self._numeric:
            return Statistics(count, self._changed, numeric=False)
        old, new, product, change = self._sums
        norms = math.sqrt(old) * math.sqrt(new)
        return Statistics(
            count,
            self._changed,
            one_ulp=self._one_ulp,
            converted=self._converted,
            old_norm=self._scale * math.sqrt(old),
            new_norm=self._scale * math.sqrt(new),
            delta_norm=self._scale * math.sqrt(change),
            largest=self._largest,
            cosine=(_bounded(float(product) / norms) if self._largest else 1.0) if norms else None,
            nan_in=self._nan_in,
            inf_in=self._inf_in,
            became_zero=self._is_zero and not self._was_zero,
            rank=self._rank.rank if self._rank else None,
            histogram=() if self._histogram is None else tuple(int(n) for n in self._histogram),
        )


def _products(before: Floats, after: Floats, change: Floats) -> Floats:
    """The sums of squares and the scalar product, in the order of the tally."""
    pairs = ((before, before), (after, after), (before, after), (change, change))
    return np.array([np.dot(a, b) for a, b in pairs])


def _neighbours(old: Words, new: Words, equal: int) -> int:
    """How many words are one apart, of which ``equal`` are equal: in words of one sign, one unit in the last place."""
    distance = new - old
    distance += old.dtype.type(1)
    near = np.flatnonzero(distance <= old.dtype.type(2))  # most often few: the signs of the others need no look
    sign = old.dtype.type(1 << (8 * old.dtype.itemsize - 1))
    return int(np.count_nonzero((old[near] ^ new[near]) < sign)) - equal if len(near) > equal else 0


def _epsilon(native: np.dtype[Any]) -> float:
    """The distance from 1 to the next number."""
    if native.kind == "f":
        return float(np.finfo(native).eps)
    import ml_dtypes

    return float(ml_dtypes.finfo(native).eps)


def _bounded(cosine: float) -> float:
    """Without the last two digits, which are those of the sums' order, and that is not the same on every machine."""
    return max(-1.0, min(1.0, round(cosine, 14)))
