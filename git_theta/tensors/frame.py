"""A file without its tensors: a skeleton and where it lies enter, a source that format plug-ins can read leaves."""

from __future__ import annotations

from bisect import bisect_right

from git_theta.formats.source import check_range
from git_theta.model import Manifest


class FrameSource:
    """A source over a skeleton in memory: its bytes are where the file has them, tensors read as zeros."""

    def __init__(self, manifest: Manifest, skeleton: bytes) -> None:
        self.size = manifest.size
        self._skeleton = skeleton
        # Per stretch of skeleton: where it begins in the file, where in the skeleton, and its length.
        self._starts: list[int] = []
        self._parts: list[tuple[int, int]] = []
        at = offset = 0
        for gap, length in [*((e.gap, e.length) for e in manifest.entries), (manifest.size, 0)]:
            size = min(gap, len(skeleton) - offset)
            self._starts.append(at)
            self._parts.append((offset, size))
            at, offset = at + size + length, offset + size

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
