"""Random access to the bytes a format plug-in scans.

A plug-in gets a :class:`Source` and reads the few bytes it needs. A read outside the file raises
:class:`MalformedCheckpoint` before anything is allocated, so a header that lies about lengths costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Protocol

from git_theta.errors import Exit, ThetaError

READ_LIMIT = 128 << 20
"""Largest single read a plug-in may make: the safetensors header limit is 100 MB, nothing needs more."""

GROUP_LIMIT = 1 << 18
"""Groups in one file: three times the largest published model, and a bound on the memory a header can cost."""


class MalformedCheckpoint(ThetaError):
    """The file claims to be of a format and breaks that format's rules.

    Never reaches a user as a failure: the file is stored whole, as one opaque group, and the reason is shown.
    """

    exit_code = Exit.DAMAGED


class Source(Protocol):
    """A file of known size that can be read at any place."""

    @property
    def size(self) -> int:
        """Total bytes."""

    def read(self, start: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``start``; raises :class:`MalformedCheckpoint` outside the file."""


def check_range(start: int, length: int, size: int) -> None:
    """Refuse a read that leaves the file or is larger than :data:`READ_LIMIT`."""
    if start < 0 or length < 0 or start + length > size:
        raise MalformedCheckpoint(f"bytes {start:,} to {start + length:,} are outside the file of {size:,} bytes")
    if length > READ_LIMIT:
        raise MalformedCheckpoint(f"a header of {length:,} bytes is larger than the limit of {READ_LIMIT:,}")


@dataclass(frozen=True, slots=True)
class BytesSource:
    """A source over bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, length: int) -> bytes:
        check_range(start, length, self.size)
        return self.data[start : start + length]


@dataclass(frozen=True, slots=True)
class FileSource:
    """A source over an open file, whose size is fixed when the source is made. Moves the file's position."""

    file: IO[bytes]
    size: int

    def read(self, start: int, length: int) -> bytes:
        check_range(start, length, self.size)
        self.file.seek(start)
        parts, left = [], length
        while left:
            part = self.file.read(left)
            if not part:
                raise MalformedCheckpoint(f"the file ended before {start + length:,}, it had {self.size:,} bytes")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
