"""Write a zip archive around pieces nobody has to read: members to be enter, the parts of the file leave.

Members are stored as they are given, compressed or not. What always holds: the same members give the same bytes (no
clock, no name of a machine), sizes beyond 32 bits are written as zip64, and there are no data descriptors.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from zlib import crc32

from git_theta.formats.pieces import CannotBuild, Part, Piece, Side
from git_theta.formats.zip_checksums import Members, combine
from git_theta.formats.zip_directory import (
    ABSENT_32,
    CENTRAL,
    END,
    END64,
    EXTRA_ZIP64,
    FLAG_DESCRIPTOR,
    FLAG_ENCRYPTED,
    FLAG_UTF8,
    LOCAL,
    LOCATOR,
    METHOD_STORED,
    Member,
)

_VERSION, _VERSION_ZIP64 = 20, 45
_DATE = 1 << 5 | 1  # the first of January 1980, as early as zip knows
_COUNT_LIMIT = 0xFFFF


@dataclass(frozen=True, slots=True)
class NewMember:
    """A member to be. ``data`` are its bytes as the file will hold them; ``size`` is how many they are unpacked."""

    name: bytes
    flags: int
    method: int
    size: int
    crc: int
    data: tuple[Part, ...]

    @property
    def compressed_size(self) -> int:
        return _length(self.data)


def _length(data: tuple[Part, ...]) -> int:
    return sum(part.length if isinstance(part, Piece) else len(part) for part in data)


def stored(name: bytes, flags: int, data: tuple[Part, ...], crc: int) -> NewMember:
    """A member that is not compressed. Of ``flags`` only whether the name is UTF-8 counts."""
    return NewMember(name, flags & FLAG_UTF8, METHOD_STORED, _length(data), crc, data)


def copied(member: Member, data: tuple[Part, ...]) -> NewMember:
    """A member of another archive as it is there; raises :class:`CannotBuild` when it is encrypted."""
    if member.flags & FLAG_ENCRYPTED:
        raise CannotBuild(f"zip member {member.name!r} is encrypted")
    return NewMember(raw_name(member), member.flags & ~FLAG_DESCRIPTOR, member.method, member.size, member.crc, data)


def rewritten(sides: Sequence[Side], pieces: Sequence[Piece]) -> Iterator[NewMember]:
    """The member around each piece: name and whatever comes before the piece are those of its side."""
    members = cache(lambda at: Members(sides[at]))
    for piece in pieces:
        side = members(piece.side)
        member = side.holding(piece.span)
        if member.stored:
            head = side.head(piece.span)
            crc = side.crc(piece.span) if piece.crc is None else piece.crc
            yield stored(raw_name(member), member.flags, (head, piece), combine(crc32(head), crc, piece.length))
        else:
            yield copied(member, (piece,))


def raw_name(member: Member) -> bytes:
    """A member's name as its archive has it."""
    if member.flags & FLAG_UTF8:
        return member.name.encode("utf-8", "surrogateescape")
    return member.name.encode("cp437")


def write_archive(members: Iterable[NewMember], alignment: int = 1) -> Iterator[Part]:
    """The archive. With an ``alignment``, data start at multiples of it, by the padding PyTorch puts in headers."""
    records = []
    at = 0
    for member in members:
        header = _local_header(member, at, alignment)
        records.append(_record(member, at))
        yield header
        yield from member.data
        at += len(header) + member.compressed_size
    directory = b"".join(records)
    yield directory + _end(len(records), at, len(directory))


def _local_header(member: NewMember, at: int, alignment: int) -> bytes:
    sizes, extra = _narrow(member.compressed_size, member.size)
    if extra:  # here both sizes are wide, or none is
        sizes = (ABSENT_32, ABSENT_32)
        extra = struct.pack("<2H2Q", EXTRA_ZIP64, 16, member.size, member.compressed_size)
    version = _VERSION_ZIP64 if extra else _VERSION
    if alignment > 1:
        bare = at + LOCAL.size + len(member.name) + len(extra) + 4
        padding = -bare % alignment
        extra += b"FB" + struct.pack("<H", padding) + b"Z" * padding
    numbers = (version, member.flags, member.method, 0, _DATE, member.crc, *sizes, len(member.name), len(extra))
    return LOCAL.pack(b"PK\x03\x04", *numbers) + member.name + extra


def _record(member: NewMember, at: int) -> bytes:
    """The member's record in the central directory; its local header is ``at``."""
    (size, compressed, header), extra = _narrow(member.size, member.compressed_size, at)
    version = _VERSION_ZIP64 if extra else _VERSION
    versions = (version, version, member.flags, member.method, 0, _DATE)
    lengths = (len(member.name), len(extra), 0, 0, 0, 0)
    return CENTRAL.pack(b"PK\x01\x02", *versions, member.crc, compressed, size, *lengths, header) + member.name + extra


def _narrow(*numbers: int) -> tuple[tuple[int, ...], bytes]:
    """The numbers with a mark for each that does not fit 32 bits, and the extra field that holds those."""
    wide = [number for number in numbers if number >= ABSENT_32]
    extra = struct.pack(f"<2H{len(wide)}Q", EXTRA_ZIP64, 8 * len(wide), *wide) if wide else b""
    return tuple(min(number, ABSENT_32) for number in numbers), extra


def _end(count: int, at: int, length: int) -> bytes:
    """What ends the archive whose central directory of ``length`` bytes is ``at``."""
    end = END.pack(b"PK\x05\x06", 0, 0, *[min(count, _COUNT_LIMIT)] * 2, min(length, ABSENT_32), min(at, ABSENT_32), 0)
    if count < _COUNT_LIMIT and length < ABSENT_32 and at < ABSENT_32:
        return end
    versions = (_VERSION_ZIP64, _VERSION_ZIP64)
    wide = END64.pack(b"PK\x06\x06", END64.size - 12, *versions, 0, 0, count, count, length, at)
    return wide + LOCATOR.pack(b"PK\x06\x07", 0, at + length, 1) + end
