"""Build the frame of a file no framework ever wrote: versions of a checkpoint and what to take from each enter, the
skeleton of the result leaves.

Where the result has the structure and the values besides tensors of one version, the skeleton of that version stays
as it is, byte for byte, but for what the container derives from values (the CRC-32 of a zip member). Otherwise the
format's plug-in writes a new one. What always holds: the plug-in's own ``scan`` finds exactly the asked groups in
what leaves here, and no byte of a tensor is read.

A plug-in takes part by four optional functions. ``leaves(source)`` gives the values besides tensors by path.
``repeated(source)`` gives a name that two tensors or other values share, None where none do.
``restore(template, sides, pieces)`` yields (place in the file, bytes) for what follows from values, when the skeleton
of the side at ``template`` stays. ``write(sides, pieces, leaves)`` yields the new file as its bytes and, in their
places, the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

from git_theta.formats.frame import Frame
from git_theta.formats.pickle_reader import Value
from git_theta.formats.pickle_writer import are_same
from git_theta.formats.pieces import Built, CannotBuild, Leaves, Part, Piece, Side, sides_of, skeleton_parts
from git_theta.formats.registry import OPAQUE, load, scan
from git_theta.formats.source import MalformedCheckpoint, Source
from git_theta.model import Layout, Span

__all__ = ["Built", "CannotBuild", "Piece", "Side", "build", "check_told_apart", "may_repeat"]


_Values = Mapping[str, Value]
_Read = Callable[[int], _Values]


def build(format: str, sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves) -> Built:
    """The frame of the file that holds ``pieces`` in their order and ``leaves``; ours comes first in ``sides``.

    Raises :class:`CannotBuild`, and :class:`MalformedCheckpoint` when a side is not a file of that format.
    """
    if any(sides[at].layout.format != format for at in sides_of(pieces, leaves)):
        raise CannotBuild(f"a {format} file cannot hold what is taken from a file of another format")
    for side in sides:
        if side.layout.format == format:
            check_told_apart(format, side.frame)
    read = cache(lambda at: _leaves(format, sides[at].frame))
    kept = _kept(format, sides, pieces, leaves, read)
    if kept is not None:
        return _checked(format, kept, pieces)[0]
    built, frame = _checked(format, _written(format, sides, pieces, leaves), pieces)
    if not _are_leaves(_leaves(format, frame), leaves, read):
        raise CannotBuild(f"the {format} file would not have the values besides tensors that were merged")
    return built


def check_told_apart(format: str, source: Source) -> None:
    """Raise :class:`CannotBuild` when two values of a file have one name: which is which, no merge by name knows."""
    repeated = getattr(load(format), "repeated", None) if format != OPAQUE else None
    try:
        name = repeated(source) if repeated else None
    except MalformedCheckpoint:
        return  # nothing in it has a name but whole records
    if name is not None:
        raise CannotBuild(
            f"two values of the file are both called {name!r}, so they cannot be told apart",
            hint="`git checkout --ours PATH` or `--theirs` takes one version whole, then `git add PATH`",
        )


def may_repeat(layout: Layout) -> bool:
    """Whether the names of groups look as if one had to be made unique, which only the frame can tell for sure."""
    names = {group.name for span in layout.spans for group in span.groups}
    stems = (name.rpartition("~") for name in names if "~" in name)
    return any(stem in names and suffix.isdecimal() for stem, _, suffix in stems)


def _kept(
    format: str, sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves, read: _Read
) -> list[Part] | None:
    """The skeleton of the first side that has the structure and the leaves of the result; None where none has."""
    for at, side in enumerate(sides):
        if _has_structure(at, side, format, pieces) and _are_leaves(read(at), leaves, read):
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


def _are_leaves(found: _Values, leaves: Leaves, read: _Read) -> bool:
    """Whether ``found`` are the leaves of the result, wherever their values are taken from."""
    return found.keys() == leaves.keys() and all(
        path in read(side) and are_same(found[path], read(side)[path]) for path, side in leaves.items()
    )


def _leaves(format: str, source: Source) -> _Values:
    """The values besides tensors; none for a format that tells none, or a file in which they cannot be read."""
    read = getattr(load(format), "leaves", None) if format != OPAQUE else None
    try:
        found: _Values = read(source) if read else {}
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
    try:
        return list(write(sides, pieces, leaves))
    except MalformedCheckpoint as error:
        raise CannotBuild(f"a {format} file of another structure cannot be written: {error}") from error


def _checked(format: str, parts: Sequence[Part], pieces: Sequence[Piece]) -> tuple[Built, Frame]:
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
    return Built(found.layout, skeleton, tuple(placed)), frame


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
