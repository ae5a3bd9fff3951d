"""The CRC-32 that a zip archive keeps of every member, computed from those of parts: numbers enter, numbers leave.

A CRC is the remainder of a polynomial over GF(2), so that of A + B follows from those of A and B and B's length, and
that of B from the other two. What always holds: no byte of a tensor is read.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache
from zlib import crc32

from git_theta.formats.pieces import Piece, Side
from git_theta.formats.zip_directory import FLAG_DESCRIPTOR, Member, read_directory

_POLYNOMIAL = 0xEDB88320  # of CRC-32, the coefficient of x^0 in the highest bit
_FLAGS_AT, _CRC_AT, _CENTRAL_CRC_AT = 6, 14, 16
_DESCRIPTOR = b"PK\x07\x08"


def combine(first: int, second: int, length: int) -> int:
    """The CRC of A + B; ``length`` is that of B in bytes."""
    return _shift(first, length) ^ second


def remove(whole: int, first: int, length: int) -> int:
    """The CRC of B from that of A + B; ``length`` is that of B in bytes."""
    return whole ^ _shift(first, length)


def _shift(crc: int, length: int) -> int:
    """``crc`` times x^(8 * length)."""
    bit = 0
    while crc and length >> bit:
        if length >> bit & 1:
            crc = _multiply(crc, _power(bit))
        bit += 1
    return crc


@cache
def _power(bit: int) -> int:
    """x^(8 * 2^bit)."""
    return _multiply(_power(bit - 1), _power(bit - 1)) if bit else 1 << 23


def _multiply(a: int, b: int) -> int:
    """The product of two polynomials, modulo that of CRC-32."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


class Members:
    """The members of one side, by the spans in them."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._members = read_directory(side.frame)
        self._headers = [member.header for member in self._members]

    def holding(self, span: int) -> Member:
        """The member that the span at this place is in."""
        return self._members[bisect_left(self._headers, self._side.layout.spans[span].start) - 1]

    def head(self, span: int) -> bytes:
        """What the member holds before the span."""
        start = self.holding(span).start
        return self._side.frame.read(start, self._side.layout.spans[span].start - start)

    def crc(self, span: int) -> int:
        """The CRC of the span alone, as the directory has it."""
        crc = self.holding(span).crc
        head = self.head(span)
        return remove(crc, crc32(head), self._side.layout.spans[span].length) if head else crc


def restore_checksums(template: int, sides: Sequence[Side], pieces: Sequence[Piece]) -> Iterator[tuple[int, bytes]]:
    """Where the archive at ``template`` keeps the CRCs of pieces that are not its own, and what they are now."""
    members = cache(lambda at: Members(sides[at]))
    for span, piece in enumerate(pieces):
        if piece.side == template and piece.crc is None:
            continue
        crc = members(piece.side).crc(piece.span) if piece.crc is None else piece.crc
        head = members(template).head(span)
        if head:
            crc = combine(crc32(head), crc, piece.length)
        member = members(template).holding(span)
        data = struct.pack("<I", crc)
        yield from ((place, data) for place in _places(sides[template], member))


def _places(side: Side, member: Member) -> Iterator[int]:
    """Every place where an archive keeps the CRC of a member."""
    yield member.entry + _CENTRAL_CRC_AT
    header = side.frame.read(member.header, _CRC_AT + 4)
    known = struct.pack("<I", member.crc)
    if not header[_FLAGS_AT] & FLAG_DESCRIPTOR:
        yield member.header + _CRC_AT
        return
    if header[_CRC_AT:] == known:
        yield member.header + _CRC_AT
    behind = side.frame.read(member.end, 8)
    if behind.startswith(_DESCRIPTOR):
        yield member.end + 4
    elif behind[:4] == known:
        yield member.end
