"""NumPy's .npz: a zip archive with one .npy per array. A source enters, a layout leaves.

A stored array is a group by the member's name without ``.npy``; its header stays skeleton. A member that is
compressed, encrypted or no readable array is one opaque group over its bytes as the file holds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from git_theta.formats.npy import read_array
from git_theta.formats.pieces import Leaves, Part, Piece, Side
from git_theta.formats.source import MalformedCheckpoint, Source
from git_theta.formats.zip_directory import Member, is_zip, read_directory, read_names
from git_theta.model import Group, Layout, Span

FORMAT = "npz"


def sniff(source: Source) -> bool:
    """Whether the file is a zip archive with an array and without PyTorch's ``data.pkl``."""
    if not is_zip(source):
        return False
    try:
        names = read_names(source)
    except MalformedCheckpoint:
        return False
    return any(name.endswith(".npy") for name in names) and not any(name.split("/")[-1] == "data.pkl" for name in names)


def scan(source: Source) -> Layout:
    """One span per member with content; raises :class:`MalformedCheckpoint` where the archive breaks zip's rules."""
    spans = [_span(source, member) for member in read_directory(source) if member.compressed_size]
    return Layout(FORMAT, source.size, tuple(spans))


def restore(template: int, sides: Sequence[Side], pieces: Sequence[Piece]) -> Iterator[tuple[int, bytes]]:
    """The checksums of members that do not hold what they held; see :mod:`git_theta.formats.building`."""
    from git_theta.formats.zip_checksums import restore_checksums

    return restore_checksums(template, sides, pieces)


def write(sides: Sequence[Side], pieces: Sequence[Piece], _leaves: Leaves) -> Iterator[Part]:
    """A new archive of the members of all pieces, then those of ours that hold nothing."""
    from git_theta.formats.zip_writing import copied, rewritten, write_archive

    empty = [copied(member, ()) for member in read_directory(sides[0].frame) if not member.compressed_size]
    return write_archive([*rewritten(sides, pieces), *empty])


def _span(source: Source, member: Member) -> Span:
    """The array a member holds, or all of its bytes when it does not hold exactly one."""
    end = member.start + member.compressed_size
    if member.stored and member.name.endswith(".npy"):
        try:
            span = read_array(source, member.start, end, member.name.removesuffix(".npy"))
        except MalformedCheckpoint:
            span = None
        if span and span.end == end:
            return span
    return Span(member.start, member.compressed_size, (Group(member.name, "opaque", (member.compressed_size,)),))
