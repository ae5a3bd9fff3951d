"""Chunks of any length enter, blocks of the length that is asked for leave, copied only where they cross chunks."""

from __future__ import annotations

from collections.abc import Iterator


class Feed:
    """One value's bytes, taken from the first on. ``chunks`` may reuse its buffer for the next one."""

    def __init__(self, chunks: Iterator[memoryview]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def take(self, length: int) -> memoryview | bytes:
        """The next ``length`` bytes, valid until the next call; fewer only where the value ends."""
        if length <= len(self._rest):
            part, self._rest = self._rest[:length], self._rest[length:]
            return part
        found = bytearray(self._rest)
        self._rest = memoryview(b"")
        while len(found) < length:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            wanted = length - len(found)
            if not found and len(chunk) >= wanted:
                self._rest = chunk[wanted:]
                return chunk[:wanted]
            found += chunk[:wanted]
            self._rest = chunk[wanted:]
        return bytes(found)

    def skip(self, length: int) -> None:
        """Pass over ``length`` bytes."""
        while length and (part := self.take(min(length, 1 << 20))):
            length -= len(part)

    def finish(self) -> None:
        """Pass over everything left, so that whoever checks the whole value does."""
        self._rest = memoryview(b"")
        for _ in self._chunks:
            pass
