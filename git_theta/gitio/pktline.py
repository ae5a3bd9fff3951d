"""Git's packet lines (gitprotocol-common): a four-digit hex length, then that many bytes less four; 0000 ends a list.

Enters: the two pipes of a long-running filter. Leaves: text packets, lists, and content of any length. What
always holds: nothing is read past the flush that ends what was asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import BinaryIO, Protocol

from git_theta.errors import Exit, ThetaError

MAX_PAYLOAD = 65516
_BUFFER = 1 << 20


class ProtocolError(ThetaError):
    """What came through the pipe is not the long-running filter protocol."""

    exit_code = Exit.USAGE


class Readable(Protocol):
    """An unbuffered binary stream."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read at most as much as fits; 0 at the end."""


class PacketReader:
    """Packets from a pipe, through one buffer large enough that Git rarely waits for us."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0
        self._left = 0  # bytes of the current content packet not handed out yet

    def line(self) -> str | None:
        """The next packet as text without its newline; None for a flush. Raises EOFError when Git has closed."""
        packet = self._packet()
        if packet is None:
            return None
        return packet.decode("utf-8", "surrogateescape").removesuffix("\n")

    def pairs(self) -> dict[str, str]:
        """``key=value`` packets up to the flush."""
        found = {}
        while (line := self.line()) is not None:
            key, _, value = line.partition("=")
            found[key] = value
        return found

    def lines(self) -> list[str]:
        """Packets up to the flush."""
        found = []
        while (line := self.line()) is not None:
            found.append(line)
        return found

    def _packet(self) -> bytes | None:
        length = self._length()
        if length is None:
            return None
        return bytes(self._take(length))

    def _length(self) -> int | None:
        digits = bytes(self._take(4))
        try:
            length = int(digits, 16)
        except ValueError:
            raise ProtocolError(f"expected a packet length, found {digits!r}") from None
        if length == 0:
            return None
        if not 4 <= length <= MAX_PAYLOAD + 4:
            raise ProtocolError(f"a packet cannot be {length} bytes long")
        return length - 4

    def _take(self, length: int) -> memoryview:
        while self._end - self._start < length:
            self._fill()
        self._start += length
        return self._buffer[self._start - length : self._start]

    def _fill(self) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._buffer):
            rest = bytes(self._buffer[self._start : self._end])
            self._buffer[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        count = self._stream.readinto(self._buffer[self._end :])
        if not count:
            raise EOFError
        self._end += count

    def content(self) -> ContentReader:
        """The content that comes next, up to its flush."""
        return ContentReader(self)


class ContentReader:
    """One file's content inside a :class:`PacketReader`."""

    def __init__(self, packets: PacketReader) -> None:
        self._packets = packets
        self._left = 0
        self._done = False

    def readinto(self, target: memoryview) -> int:
        """Fill ``target``; returns less than its length only at the end of the content."""
        filled, packets = 0, self._packets
        while filled < len(target) and not self._done:
            if not self._left:
                length = packets._length()
                self._done = length is None
                self._left = length or 0
                continue
            if packets._start == packets._end:
                packets._fill()
            count = min(self._left, len(target) - filled, packets._end - packets._start)
            target[filled : filled + count] = packets._buffer[packets._start : packets._start + count]
            packets._start += count
            self._left -= count
            filled += count
        return filled

    def drain(self) -> None:
        """Read and drop what is left, so that the next request can be read."""
        scrap = memoryview(bytearray(_BUFFER))
        while self.readinto(scrap):
            pass


class PacketWriter:
    """Packets to a pipe. Each ``write`` below sends whole packets."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def lines(self, texts: Iterable[str]) -> None:
        """Text packets and a flush, sent at once."""
        packets = (text.encode("utf-8", "surrogateescape") + b"\n" for text in texts)
        self._send(b"".join(b"%04x%b" % (len(packet) + 4, packet) for packet in packets) + b"0000")

    def content(self, data: memoryview | bytes) -> None:
        """Content packets, without the flush that ends it."""
        view = memoryview(data).cast("B")
        out = bytearray()
        for at in range(0, len(view), MAX_PAYLOAD):
            part = view[at : at + MAX_PAYLOAD]
            out += b"%04x" % (len(part) + 4)
            out += part
            if len(out) >= _BUFFER:
                self._send(out)
                out = bytearray()
        if out:
            self._send(out)

    def flush(self) -> None:
        """End of a list or of content."""
        self._send(b"0000")

    def _send(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            view = view[self._stream.write(view) :]


def widen(fd: int) -> None:
    """Ask for a 1 MiB pipe, where the system knows how: fewer turns between Git and us."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _BUFFER)
