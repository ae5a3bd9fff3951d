"""What the values of a changed group tell: a :class:`Change` and both sides' values enter, a :class:`Finding` leaves.

Groups of one shape are compared as their bytes stream by; so are those of which one axis, or the first two, became
longer or shorter, as far as both sides go. Of a transposed group one side is held; other shapes and strided views are
compared in memory: each up to a limit. What always holds: whatever is read is read to its end, so that its digest has
been checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import prod
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from git_theta.diff.finding import Finding, Nature, NoNumbers, Statistics
from git_theta.diff.records import Change, Kind, Value
from git_theta.diff.statistics import BLOCK, measure, measure_rows, no_numbers
from git_theta.diff.values import Values
from git_theta.errors import ThetaError
from git_theta.model import Group
from git_theta.tensors.elements import elements
from git_theta.tensors.feed import Feed

Array: TypeAlias = NDArray[np.unsignedinteger[Any]]

IN_MEMORY = 32 << 20
"""Bytes of a group that are held at once where streaming will not do."""
SMALL = 1 << 16
"""Smaller groups are nearly all Python, of which threads would do one thing at a time, and slower: half as fast."""
RANKED = 16
"""Rows and columns of the smallest matrix whose change is asked for its rank: of less, low says little."""
HELD_ALONE = 160 << 20
"""As much of one side is held while the other streams, of one group at a time."""
_ALONE = Lock()


def find_all(
    changes: Sequence[Change], old: Values | None, new: Values | None, threads: int, histogram: bool = False
) -> dict[str, Finding]:
    """A finding for each change, by name, on ``threads`` threads."""

    # What came in one piece of bytes is read once, for the first of the groups that share it.
    first = {change.new.digest: change.name for change in reversed(changes) if change.new and change.new.ties}

    def one(change: Change) -> tuple[str, Finding]:
        whole = change.new is None or first.get(change.new.digest, change.name) == change.name
        return change.name, find(change, old, new, histogram) if whole or change.old else _stored(change, new)

    large = [
        change for change in changes if threads > 1 and any(v and v.bytes >= SMALL for v in (change.old, change.new))
    ]
    if len(large) <= 1:
        return dict(map(one, changes))
    apart = {change.name for change in large}
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(one, large)
        return dict(one(change) for change in changes if change.name not in apart) | dict(found)


def find(change: Change, old: Values | None, new: Values | None, histogram: bool = False) -> Finding:
    """What the values of one change tell."""
    found = _stored(change, new)
    try:
        if change.kind is Kind.ADDED and new and change.new:
            return replace(found, came=_came(change.new, new))
        if change.kind is Kind.CHANGED and old and new and change.old and change.new:
            return replace(_Pair(change.old, change.new, old, new, histogram).find(), storage=found.storage)
    except ThetaError as error:
        return replace(found, problem=error)
    return found


def _stored(change: Change, new: Values | None) -> Finding:
    """How the new value is stored, and nothing about the value itself."""
    return Finding(storage=new.storage(change.name) if new and change.new else None)


def _came(value: Value, values: Values) -> NoNumbers:
    """What came with a value that has no old one: in its elements, or in all the bytes that it shares."""
    group, reader = value.group, elements(value.group.dtype)
    if not reader.floating:
        return NoNumbers()
    if not (value.ties or _is_dense(group)):
        return _no_numbers(_array(values, value), group.dtype) if value.bytes <= IN_MEMORY else NoNumbers()
    feed = Feed(values.chunks(group.name))
    feed.skip(reader.size * (group.view.offset if group.view and not value.ties else 0))
    found = no_numbers(feed, group.dtype, value.bytes // reader.size if value.ties else prod(group.shape))
    feed.finish()
    return found


def _no_numbers(array: Array, dtype: str) -> NoNumbers:
    dtype = dtype.removesuffix("_be")
    return no_numbers(_feed(array), dtype, array.size // elements(dtype).parts)


class _Pair:
    """Both sides of one changed group."""

    def __init__(self, old: Value, new: Value, before: Values, after: Values, histogram: bool) -> None:
        self._old, self._new = old, new
        self._before, self._after = before, after
        self._histogram = histogram

    def find(self) -> Finding:
        old, new = self._old.group, self._new.group
        same_shape, same_dtype = old.shape == new.shape, old.dtype == new.dtype
        readers = elements(old.dtype), elements(new.dtype)
        if not (readers[0].numeric and readers[1].numeric):
            return self._bytes() if same_shape and same_dtype else self._incomparable("one side is no plain numbers")
        if readers[0].parts != readers[1].parts:
            return self._incomparable("one side has complex numbers, the other real ones")
        if not (same_shape or same_dtype):
            return self._incomparable("the dtype and the shape changed")
        if not same_shape:
            return self._other_shape()
        found = self._statistics(prod(new.shape))
        if found is None:
            return self._too_large(IN_MEMORY, "its layout changed or has gaps")
        if same_dtype and found.changed and self._is_square_transposed(found):
            return Finding(Nature.TRANSPOSED)
        if not same_dtype and readers[0].native == readers[1].native:  # as bytes swapped, and bool to uint8
            found = replace(found, converted=found.elements - found.changed)
        return Finding(Nature.VALUES if same_dtype else Nature.CAST, found)

    def _incomparable(self, reason: str) -> Finding:
        """Sides that have no elements in common: what came is looked at by itself."""
        return Finding(Nature.INCOMPARABLE, came=_came(self._new, self._after), reason=reason)

    def _too_large(self, limit: int, how: str) -> Finding:
        held = max(self._old.bytes, self._new.bytes)
        return self._incomparable(f"{how}, and {held / 1e6:,.0f} MB are more than the {limit / 1e6:.0f} MB compared so")

    def _bytes(self) -> Finding:
        """Elements without a meaning of their own, byte by byte."""
        if self._old.group.view != self._new.group.view or self._old.bytes != self._new.bytes:
            return Finding(Nature.INCOMPARABLE, reason="its layout changed")
        return Finding(statistics=self._streamed(self._new.bytes, None))

    def _statistics(self, count: int) -> Statistics | None:
        """Over the first ``count`` elements of both; None where a view is too large to be laid out."""
        old, new = self._old.group, self._new.group
        if old.view == new.view and _is_dense(new):
            matrix = len(new.shape) == 2 and old.dtype == new.dtype and new.view is None and min(new.shape) >= RANKED
            return self._streamed(count, new.shape[1] if matrix else None)
        arrays = self._arrays()
        return self._over(*arrays) if arrays else None

    def _streamed(self, count: int, columns: int | None) -> Statistics:
        """Both sides in the order of their bytes."""
        old, new = self._old.group, self._new.group
        feeds = Feed(self._before.chunks(old.name)), Feed(self._after.chunks(new.name))
        for feed, group in zip(feeds, (old, new), strict=True):
            feed.skip(elements(group.dtype).size * (group.view.offset if group.view else 0))
        found = measure(*feeds, (old.dtype, new.dtype), count, columns=columns, histogram=self._histogram)
        for feed in feeds:
            feed.finish()
        return found

    def _over(self, old: Array, new: Array) -> Statistics:
        """Both sides in memory, of one shape."""
        dtypes = self._old.group.dtype.removesuffix("_be"), self._new.group.dtype.removesuffix("_be")
        count = new.size // elements(dtypes[1]).parts
        return measure(_feed(old), _feed(new), dtypes, count, histogram=self._histogram)

    def _arrays(self) -> tuple[Array, Array] | None:
        """Both sides laid out in memory; None where they are too large."""
        if max(self._old.bytes, self._new.bytes) > IN_MEMORY:
            return None
        return _array(self._before, self._old), _array(self._after, self._new)

    def _other_shape(self) -> Finding:
        """Transposed; longer or shorter along an axis or two; or the corner that both shapes have."""
        old, new = self._old.group, self._new.group
        if len(old.shape) != len(new.shape):
            return self._incomparable("the number of axes changed")
        plain = old.view is None and new.view is None
        if old.shape[::-1] == new.shape:
            if plain and self._old.bytes > HELD_ALONE:
                return self._too_large(HELD_ALONE, "it may be transposed")
            if self._is_transposed():
                return Finding(Nature.TRANSPOSED)
        axes = [axis for axis, (a, b) in enumerate(zip(old.shape, new.shape, strict=True)) if a != b]
        if plain and axes == [0]:
            return self._more_rows(min(old.shape[0], new.shape[0]) * prod(new.shape[1:]), prod(new.shape))
        if plain and (len(axes) == 1 or axes == [0, 1]) and self._row_bytes(axes[-1]) <= IN_MEMORY:
            return self._longer_rows(axes[-1])
        arrays = self._arrays()
        if arrays is None:
            return self._too_large(IN_MEMORY, "several axes changed")
        corner = tuple(slice(min(a, b)) for a, b in zip(old.shape, new.shape, strict=True))
        common = arrays[1][corner]
        everywhere, there = (_no_numbers(part, new.dtype) for part in (arrays[1], common))
        came = NoNumbers(everywhere.nan - there.nan, everywhere.infinite - there.infinite)
        return Finding(Nature.RESIZED, self._over(arrays[0][corner], common), came=came)

    def _more_rows(self, common: int, count: int) -> Finding:
        """The elements that both have are compared, those that came are looked at by themselves."""
        old, new = self._old.group, self._new.group
        feeds = Feed(self._before.chunks(old.name)), Feed(self._after.chunks(new.name))
        found = measure(*feeds, (old.dtype, new.dtype), common, histogram=self._histogram)
        came = no_numbers(feeds[1], new.dtype, count - common)
        for feed in feeds:
            feed.finish()
        return Finding(Nature.RESIZED, found, came=came)

    def _longer_rows(self, axis: int) -> Finding:
        """Row by row, where a row is everything from ``axis`` on; rows that came are looked at by themselves."""
        old, new = self._old.group, self._new.group
        feeds = Feed(self._before.chunks(old.name)), Feed(self._after.chunks(new.name))
        rows, after = prod(old.shape[:axis]), prod(new.shape[:axis])
        lengths = prod(old.shape[axis:]), prod(new.shape[axis:])
        found, came = measure_rows(*feeds, new.dtype, min(rows, after), lengths, self._histogram)
        came += no_numbers(feeds[1], new.dtype, max(0, after - rows) * lengths[1])
        for feed in feeds:
            feed.finish()
        return Finding(Nature.RESIZED, found, came=came)

    def _row_bytes(self, axis: int) -> int:
        sides = (self._old.group, self._new.group)
        return max(prod(group.shape[axis:]) for group in sides) * elements(sides[0].dtype).size

    def _is_square_transposed(self, found: Statistics) -> bool:
        """Whether a square matrix is the old one transposed, which leaves the norm as it was."""
        shape = self._new.group.shape
        alike = math.isclose(found.old_norm, found.new_norm, rel_tol=1e-12)
        return len(shape) == 2 and shape[0] == shape[1] and alike and self._is_transposed()

    def _is_transposed(self) -> bool:
        """Whether the new elements are the old ones with the axes in reverse; not known of what is too large."""
        new = self._new.group
        if self._old.group.view or new.view:
            arrays = self._arrays()
            return arrays is not None and np.array_equal(_turned(arrays[0]), arrays[1])
        if self._old.bytes > HELD_ALONE:
            return False
        with _ALONE:
            turned = _turned(_array(self._before, self._old))
            feed, reader = Feed(self._after.chunks(new.name)), elements(new.dtype)
            step = max(1, BLOCK // max(1, prod(new.shape[1:])))
            alike = True
            for at in range(0, new.shape[0], step):
                expected = turned[at : at + step]
                there = feed.take(expected.size * expected.itemsize)
                if not np.array_equal(expected.ravel(), reader.words(there)):
                    alike = False
                    break
            feed.finish()
        return alike


def _array(values: Values, value: Value) -> Array:
    """A group's words in native byte order: its shape, and one axis more for the parts of an element."""
    group = value.group
    reader = elements(group.dtype)
    held = bytearray(value.bytes)
    at = 0
    for chunk in values.chunks(group.name):
        held[at : at + len(chunk)] = chunk
        at += len(chunk)
    words = reader.words(memoryview(held))
    if group.view is None:
        return words.reshape(*group.shape, reader.parts)
    shape = (*group.shape, reader.parts)
    steps = (*(stride * reader.size for stride in group.view.strides), words.itemsize)
    # Every view was checked to stay inside its span when its manifest or file was read.
    return as_strided(words[group.view.offset * reader.parts :], shape, steps, writeable=False)


def _feed(array: Array) -> Feed:
    return Feed(iter([memoryview(np.ascontiguousarray(array).tobytes())]))


def _turned(array: Array) -> Array:
    """With the axes in reverse, but for the last one: the parts of an element stay together."""
    last = array.ndim - 1
    return array.transpose(*reversed(range(last)), last)


def _is_dense(group: Group) -> bool:
    """Whether the group is a stretch of its span, each element once, in any order of its axes."""
    if group.view is None:
        return True
    if 0 in group.shape:
        return False
    expected = 1
    for stride, side in sorted(zip(group.view.strides, group.shape, strict=True)):
        if side != 1 and stride != expected:
            return False
        expected *= side
    return True
