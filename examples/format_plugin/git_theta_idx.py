"""IDX, the format of the MNIST files: two zero bytes, a type, the number of dimensions, the sides, one array.

A :class:`Source` enters, a :class:`Layout` leaves: all that git-theta asks of a format. Numbers are big-endian.
"""

from __future__ import annotations

from git_theta.formats import MalformedCheckpoint, Source
from git_theta.model import Group, Layout, Span, nbytes

FORMAT = "idx"

DTYPES = {8: "uint8", 9: "int8", 11: "int16_be", 12: "int32_be", 13: "float32_be", 14: "float64_be"}
"""Type codes to dtype names of git_theta.model."""


def sniff(source: Source) -> bool:
    """Whether the file begins as IDX does. Never raises."""
    if source.size < 4:
        return False
    start = source.read(0, 4)
    return start[:2] == b"\0\0" and start[2] in DTYPES and 1 <= start[3] <= 8


def scan(source: Source) -> Layout:
    """One span, the array; raises :class:`MalformedCheckpoint` when the file is not exactly that long."""
    _, _, code, dimensions = source.read(0, 4)
    sides = source.read(4, 4 * dimensions)
    shape = tuple(int.from_bytes(sides[at : at + 4], "big") for at in range(0, len(sides), 4))
    start = 4 + len(sides)
    length = nbytes(DTYPES[code], shape)
    if length is None or start + length != source.size:
        raise MalformedCheckpoint(f"an array of shape {list(shape)} does not fill the {source.size:,} bytes")
    return Layout(FORMAT, source.size, (Span(start, length, (Group("array", DTYPES[code], shape),)),))
