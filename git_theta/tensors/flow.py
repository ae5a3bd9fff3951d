"""How a file is cut into slabs: the unit in which bytes are read, hashed, coded and written.

A slab is at most 4 MiB of consecutive file bytes. A value larger than that has slabs of its own, aligned to its
beginning, so that each is one chunk; smaller values and the skeleton between them share a slab and are never
cut. A fixed set of buffers goes round, which bounds the memory of everything built on slabs.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from git_theta.codecs import CHUNK

SKELETON = -1
"""The value number of skeleton bytes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes [start, start + length) of a slab: part of value number ``value``, from ``offset`` within the value."""

    value: int
    offset: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Slab:
    """Consecutive bytes of the file, as pieces that tile them."""

    length: int
    pieces: tuple[Piece, ...]


def file_slabs(spans: Iterable[tuple[int, int]], trailing: int) -> Iterator[Slab]:
    """Cut a file given as (gap, length) per value, and ``trailing`` skeleton bytes at its end."""
    pieces: list[Piece] = []
    filled = 0
    skeleton = 0

    def close() -> Iterator[Slab]:
        nonlocal pieces, filled
        if pieces:
            yield Slab(filled, tuple(pieces))
        pieces, filled = [], 0

    def add(value: int, offset: int, length: int) -> None:
        nonlocal filled
        pieces.append(Piece(value, offset, filled, length))
        filled += length

    def gap(length: int) -> Iterator[Slab]:
        nonlocal skeleton
        while length:
            if filled == CHUNK:
                yield from close()
            part = min(length, CHUNK - filled)
            add(SKELETON, skeleton, part)
            skeleton, length = skeleton + part, length - part

    for value, (before, length) in enumerate(spans):
        yield from gap(before)
        if length > CHUNK or filled + length > CHUNK:
            yield from close()
        for offset in range(0, length, CHUNK):
            add(value, offset, min(CHUNK, length - offset))
            if length > CHUNK:
                yield from close()
    yield from gap(trailing)
    yield from close()


class Buffers:
    """A fixed number of slab-sized buffers, taken and given back; taking waits for one to come back."""

    def __init__(self, count: int) -> None:
        import numpy as np

        # numpy.empty leaves the pages untouched until they are used, and keeps them: fresh memory for every
        # slab cost a fifth of the whole run in page faults.
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(np.empty(CHUNK, dtype=np.uint8).data)

    def take(self) -> memoryview:
        """A buffer nobody else holds."""
        return self._free.get()

    def give(self, buffer: memoryview) -> None:
        """Return a buffer from :meth:`take`."""
        self._free.put(buffer)
