"""What the tests of ``git_theta.formats.building`` share: files as sides, a simple merge, and gluing its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from zlib import crc32

from git_theta.formats import BytesSource, scan
from git_theta.formats.building import Built, Piece, Side, build
from git_theta.formats.frame import Frame
from git_theta.formats.registry import OPAQUE, load
from git_theta.model import Layout


def side(data: bytes) -> Side:
    """A file as a merge hands it in: every byte of a tensor reads as zero."""
    layout = scan(BytesSource(data)).layout
    skeleton, spans, end = b"", [], 0
    for span in layout.spans:
        skeleton += data[end : span.start]
        spans.append((span.start - end, span.length))
        end = span.end
    return Side(Frame(len(data), spans, skeleton + data[end:]), layout)


def leaves_of(one: Side) -> Mapping[str, object]:
    read = None if one.layout.format == OPAQUE else getattr(load(one.layout.format), "leaves", None)
    found: Mapping[str, object] = read(one.frame) if read else {}
    return found


def pieces_of(place: int, layout: Layout) -> list[Piece]:
    """Every span of one side."""
    return [Piece(span.groups, span.length, place, at) for at, span in enumerate(layout.spans)]


def merge(
    files: Sequence[bytes],
    take: Mapping[str, int] | None = None,
    drop: Sequence[str] = (),
    make: Mapping[str, Callable[[bytes], bytes]] | None = None,
) -> tuple[bytes, Built]:
    """The file with everything of the first, then what the others add, and its frame.

    ``take`` names the side from which a group or another value comes instead, ``drop`` what is left out, ``make``
    what becomes of the bytes of a group.
    """
    take, make = take or {}, make or {}
    sides = [side(data) for data in files]
    chosen: dict[str, Piece] = {}
    for place, one in enumerate(sides):
        for piece in pieces_of(place, one.layout):
            name = piece.groups[0].name
            if name not in drop and (name not in chosen or take.get(name) == place):
                chosen[name] = piece
    content = {}
    for name, piece in chosen.items():
        span = sides[piece.side].layout.spans[piece.span]
        content[name] = files[piece.side][span.start : span.end]
        if name in make:
            content[name] = make[name](content[name])
            chosen[name] = replace(piece, crc=crc32(content[name]))
    leaves: dict[str, int] = {}
    for place, one in enumerate(sides):
        for path in leaves_of(one):
            if path not in drop and (path not in leaves or take.get(path) == place):
                leaves[path] = place
    built = build(sides[0].layout.format, sides, list(chosen.values()), leaves)
    return glue(built, content), built


def glue(built: Built, content: Mapping[str, bytes]) -> bytes:
    """The whole file: the skeleton with the bytes of every group, which goes by the first name of its piece."""
    data, offset, end = b"", 0, 0
    for span, piece in zip(built.layout.spans, built.pieces, strict=True):
        gap = span.start - end
        data += built.skeleton[offset : offset + gap] + content[piece.groups[0].name]
        offset, end = offset + gap, span.end
    data += built.skeleton[offset:]
    assert len(data) == built.layout.size
    return data
