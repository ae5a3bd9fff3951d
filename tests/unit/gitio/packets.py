"""Packets as Git writes them, made and taken apart independently of the code under test."""

from __future__ import annotations

from collections.abc import Iterable


def packets(payloads: Iterable[bytes]) -> bytes:
    """Packets, without a flush."""
    return b"".join(f"{len(payload) + 4:04x}".encode() + payload for payload in payloads)


def flush() -> bytes:
    """The packet that ends a list."""
    return b"0000"


def text(*lines: str) -> bytes:
    """A list of text packets, ended."""
    return packets(line.encode() + b"\n" for line in lines) + flush()


def content(data: bytes, size: int = 65516) -> bytes:
    """Content in packets of ``size``, ended."""
    return packets(data[at : at + size] for at in range(0, len(data), size)) + flush()


def lists(stream: bytes) -> list[list[bytes]]:
    """A stream as its lists of packets; fails when it does not end with a flush."""
    found: list[list[bytes]] = [[]]
    while stream:
        length = int(stream[:4], 16)
        if length == 0:
            found.append([])
            stream = stream[4:]
        else:
            assert 4 <= length <= 65520
            assert len(stream) >= length
            found[-1].append(stream[4:length])
            stream = stream[length:]
    assert found[-1] == []
    return found[:-1]


class Trickle:
    """A pipe that holds ``data`` and gives at most ``step`` bytes at a time."""

    def __init__(self, data: bytes, step: int = 1 << 20) -> None:
        self._data, self._step, self._at = data, step, 0

    def readinto(self, buffer: memoryview, /) -> int:
        part = self._data[self._at : self._at + min(self._step, len(buffer))]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
