"""Build the frame of a file no framework ever wrote: versions of a checkpoint and what to take from each enter, the
skeleton of the result leaves.

Where the result has the structure and the values besides tensors of one version, the skeleton of that version stays
as it is, byte for byte, but for what the container derives from values (the CRC-32 of a zip member). Otherwise the
format's plug-in writes a new one. What always holds: the plug-in's own ``scan`` finds exactly the asked groups in
what leaves here, and no byte of a tensor is read.

A plug-in takes part by two optional functions. ``restore(template, sides, pieces)`` yields (place in the file, bytes)
for what follows from the values of pieces that are not those of the side at ``template``; a format without such bytes
has none.
``write(sides, pieces, leaves)`` yields the new file as its bytes and, in their places, the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from git_theta.errors import ThetaError
from git_theta.formats.frame import Frame
from git_theta.formats.pickle_reader import Value
from git_theta.formats.registry import OPAQUE, load, scan
from git_theta.formats.source import READ_LIMIT, MalformedCheckpoint, Source
from git_theta.model import Group, Layout, Span


class CannotBuild(ThetaError):
    """The format has no way to hold the result, or we know none."""


@dataclass(frozen=True, slots=True)
class Side:
    """One version of the checkpoint. Of ``frame`` only what no span of ``layout`` covers is looked at."""

    frame: Source
    layout: Layout


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


def build(format: str, sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves) -> Built:
    """The frame of the file that holds ``pieces`` in their order and ``leaves``; ours comes first in ``sides``.

    Raises :class:`CannotBuild`, and :class:`MalformedCheckpoint` when a side is not a file of that format.
    """
    used = {piece.side for piece in pieces} | {*leaves.values()}
    if any(sides[at].layout.format != format for at in used):
        raise CannotBuild(f"a {format} file cannot hold what is taken from a file of another format")
    parts = _kept(format, sides, pieces, leaves) or _written(format, sides, pieces, leaves)
    return _checked(format, parts, pieces)


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


def _kept(format: str, sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves) -> list[Part] | None:
    """The skeleton of the first side that has the structure and the leaves of the result; None where none has."""
    read = cache(lambda at: _leaves(format, sides[at].frame))
    for at, side in enumerate(sides):
        if _has_structure(at, side, format, pieces) and _has_leaves(at, leaves, read):
            return _restored(format, at, sides, pieces)
    return None


def _has_structure(at: int, side: Side, format: str, pieces: Sequence[Piece]) -> bool:
    """Whether the pieces are the spans of the side at ``at``, whatever they hold.

    What an opaque group is, its frame says in words of the format: only that of its own side says it truly.
    """
    spans = side.layout.spans
    return (side.layout.format, len(spans)) == (format, len(pieces)) and all(
        (piece.length, {*piece.groups}) == (span.length, {*span.groups})
        and (piece.side == at or all(group.dtype != OPAQUE for group in piece.groups))
        for piece, span in zip(pieces, spans, strict=True)
    )


def _has_leaves(at: int, leaves: Leaves, read: Callable[[int], Mapping[str, Value]]) -> bool:
    """Whether the leaves are those of the side at ``at``, wherever their values are taken from."""
    from git_theta.formats.pickle_writer import are_same

    own = read(at)
    return own.keys() == leaves.keys() and all(
        side == at or (path in read(side) and are_same(own[path], read(side)[path])) for path, side in leaves.items()
    )


def _leaves(format: str, source: Source) -> Mapping[str, Value]:
    """The values besides tensors; none for a format that tells none, or a file in which they cannot be read."""
    read = getattr(load(format), "leaves", None) if format != OPAQUE else None
    try:
        found: Mapping[str, Value] = read(source) if read else {}
    except MalformedCheckpoint:
        return {}
    return found


def _restored(format: str, template: int, sides: Sequence[Side], pieces: Sequence[Piece]) -> list[Part]:
    """The template's skeleton with the bytes that follow from the values of the pieces."""
    restore = getattr(load(format), "restore", None) if format != OPAQUE else None
    edits = sorted(restore(template, sides, pieces), reverse=True) if restore else []
    parts: list[Part] = []
    end = 0
    for piece, gap in zip([*pieces, None], skeleton_parts(sides[template]), strict=True):
        parts.append(_edited(gap, end, edits))
        end += len(gap)
        if piece is not None:
            parts.append(piece)
            end += piece.length
    return parts


def _edited(gap: bytes, start: int, edits: list[tuple[int, bytes]]) -> bytes:
    """A stretch of skeleton that starts at ``start``, with the edits in it; these are taken off the end of the list."""
    if not edits or edits[-1][0] >= start + len(gap):
        return gap
    edited = bytearray(gap)
    while edits and edits[-1][0] < start + len(gap):
        place, data = edits.pop()
        edited[place - start : place - start + len(data)] = data
    return bytes(edited)


def _written(format: str, sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves) -> list[Part]:
    """A new frame, by the format's own writer."""
    write: Callable[[Sequence[Side], Sequence[Piece], Leaves], Iterable[Part]] | None
    write = getattr(load(format), "write", None) if format != OPAQUE else None
    if write is None:
        raise CannotBuild(f"a {format} file can be merged only while its structure stays that of one side")
    return list(write(sides, pieces, leaves))


def _checked(format: str, parts: Sequence[Part], pieces: Sequence[Piece]) -> Built:
    """The file made of ``parts``, after the plug-in that will read it found in it what was asked for."""
    skeleton = b"".join(part for part in parts if isinstance(part, bytes))
    placed, gaps = _place(parts)
    size = sum(part.length if isinstance(part, Piece) else len(part) for part in parts)
    frame = Frame(size, [(gap, piece.length) for gap, piece in zip(gaps, placed, strict=True)], skeleton)
    found = scan(frame, forced=format)
    if found.warning:
        raise CannotBuild(f"the result would be {found.warning}")
    if {*placed} != {*pieces} or not len(placed) == len(pieces) == len(found.layout.spans):
        raise CannotBuild(f"the {format} file would have {len(found.layout.spans):,} groups, not {len(pieces):,}")
    end = 0
    for span, gap, piece in zip(found.layout.spans, gaps, placed, strict=True):
        _check_span(format, span, end + gap, piece)
        end = span.end
    return Built(found.layout, skeleton, tuple(placed))


def _place(parts: Sequence[Part]) -> tuple[list[Piece], list[int]]:
    """The pieces in file order, and how many bytes of skeleton lie before each."""
    placed, gaps, gap = [], [], 0
    for part in parts:
        if isinstance(part, Piece):
            placed.append(part)
            gaps.append(gap)
            gap = 0
        else:
            gap += len(part)
    return placed, gaps


def _check_span(format: str, span: Span, start: int, piece: Piece) -> None:
    if (span.start, span.length) != (start, piece.length) or {*span.groups} != {*piece.groups}:
        raise CannotBuild(
            f"a {format} file cannot hold group {piece.groups[0].name!r} of {piece.length:,} bytes as it is merged; "
            f"it would read it as {span.groups[0].name!r} of {span.length:,} bytes"
        )
