"""A file without its tensors: a skeleton and where it lies enter, a source that format plug-ins can read leaves.

What always holds: every byte of the skeleton is where the file has it, every other byte reads as zero.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from git_theta.formats.source import check_range


class Frame:
    """A source of ``size`` bytes over a skeleton in memory.

    ``spans`` are the tensors in file order, each as (skeleton bytes since the one before, its own length).
    """

    def __init__(self, size: int, spans: Iterable[tuple[int, int]], skeleton: bytes) -> None:
        self.size = size
        self._skeleton = skeleton
        # Per stretch of skeleton: where it begins in the file, where in the skeleton, and its length.
        self._starts: list[int] = []
        self._parts: list[tuple[int, int]] = []
        at = offset = 0
        for gap, length in [*spans, (size, 0)]:
            taken = min(gap, len(skeleton) - offset)
            self._starts.append(at)
            self._parts.append((offset, taken))
            at, offset = at + taken + length, offset + taken

    def read(self, start: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``start``."""
        check_range(start, length, self.size)
        found = bytearray(length)
        part = bisect_right(self._starts, start) - 1
        while part < len(self._starts) and self._starts[part] < start + length:
            begin, (offset, size) = self._starts[part], self._parts[part]
            first, last = max(start, begin), min(start + length, begin + size)
            if first < last:
                found[first - start : last - start] = self._skeleton[offset + first - begin : offset + last - begin]
            part += 1
        return bytes(found)
