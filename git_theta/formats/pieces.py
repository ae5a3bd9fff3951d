"""What a file is built from: versions of a checkpoint as sides, the spans of the file to be as pieces.

These are the values that :mod:`git_theta.formats.building` and the plug-ins' ``write`` and ``restore`` speak in.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from git_theta.errors import ThetaError
from git_theta.formats.source import READ_LIMIT, Source
from git_theta.model import Group, Layout

Key = TypeVar("Key", bound=Hashable)


class CannotBuild(ThetaError):
    """The format has no way to hold the result, or we know none."""


@dataclass(frozen=True, slots=True)
class Side:
    """One version of the checkpoint. Of ``frame`` only what no span of ``layout`` covers is looked at.

    ``is_base`` marks the common ancestor: what only it has was deleted.
    """

    frame: Source
    layout: Layout
    is_base: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """One span of the file to be. ``groups`` are the names it has there; it goes by the first.

    It is like the span at place ``span`` in the layout of the side at place ``side``. ``crc`` is the CRC-32 of its
    bytes where they are others than that span's; None where they are the same.
    """

    groups: tuple[Group, ...]
    length: int
    side: int
    span: int
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """The new file: where everything is in it, and every byte no span covers, concatenated in file order.

    ``pieces`` says of each span of the layout which piece it holds: a format may need them in another order.
    """

    layout: Layout
    skeleton: bytes
    pieces: tuple[Piece, ...]


Part = bytes | Piece
"""A stretch of the new file."""

Leaves = Mapping[str, int]
"""The paths of the values besides tensors that the result has, each with the side whose value it is."""


def sides_of(pieces: Iterable[Piece], leaves: Leaves) -> set[int]:
    """The sides that something of the result is taken from."""
    return {piece.side for piece in pieces} | {*leaves.values()}


def skeleton_parts(side: Side) -> Iterator[bytes]:
    """What lies before each span of a side, then what lies behind the last: one more than it has spans."""
    end = 0
    for span in side.layout.spans:
        yield read_long(side.frame, end, span.start - end)
        end = span.end
    yield read_long(side.frame, end, side.layout.size - end)


def read_long(source: Source, start: int, length: int) -> bytes:
    """Bytes of a source in reads that its limit allows."""
    end = start + length
    return b"".join(source.read(at, min(READ_LIMIT, end - at)) for at in range(start, end, READ_LIMIT))


def unique_name(name: str, seen: Container[str], tried: dict[str, int]) -> str:
    """``name``, with a suffix if it was ``seen``. ``tried`` holds the last suffix of each name."""
    unique = name
    while unique in seen:
        tried[name] = tried.get(name, 1) + 1
        unique = f"{name}~{tried[name]}"
    return unique


def in_place(orders: Sequence[Iterable[Key]]) -> Iterator[Key]:
    """The keys of all orders: those of the first, each further one behind what precedes it in its own order."""
    following: dict[Key | None, Key | None] = {None: None}
    for order in orders:
        before: Key | None = None
        for key in order:
            if key not in following:
                following[key], following[before] = following[before], key
            before = key
    upcoming = following[None]
    while upcoming is not None:
        yield upcoming
        upcoming = following[upcoming]
