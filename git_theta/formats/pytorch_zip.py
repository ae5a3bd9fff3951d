"""torch.save since 1.6 and TorchScript (``.pt .pth .bin .ckpt``): a zip archive with one stored record per storage.

A :class:`Source` enters, a :class:`Layout` leaves. All members are in one folder, ``<prefix>/``: ``data.pkl`` says
what the checkpoint is, ``data/<key>`` holds storage ``key``; a TorchScript archive has ``constants.pkl`` and
``constants/<key>`` besides. What always holds: every record of a storage is one span. When a pickle cannot be read,
or names records that are not there, every stored member is an opaque group named by its path, so that what did not
change is still stored once. Format: ``torch/serialization.py`` and ``caffe2/serialize/inline_container.h``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from git_theta.collector import collector_paused
from git_theta.formats.pickle_reader import Value, read_pickle
from git_theta.formats.pieces import Leaves, Part, Piece, Side
from git_theta.formats.pytorch_tensors import (
    Record,
    lay_out,
    name_leaves,
    name_tensors,
    opaque_group,
    shared_name,
)
from git_theta.formats.source import MalformedCheckpoint, Source
from git_theta.formats.zip_directory import Member, is_zip, read_directory, read_names
from git_theta.model import Layout, Span

FORMAT = "pytorch-zip"

_LOCAL_HEADER = 30
_PADDING = b"FB"
_MARKS = ("data.pkl", "version", ".data/version")

# Which pickle describes which folder of records, and what its names begin with.
_PICKLES = (("data.pkl", "data/", ""), ("constants.pkl", "constants/", "constants"))


def sniff(source: Source) -> bool:
    """Whether PyTorch wrote the archive: its padding stands in the first local header, or its records in the folder.

    The first is three reads at most; the second recognises what another tool packed again.
    """
    if not is_zip(source):
        return False
    try:
        return _has_padding(source) or _has_records(source)
    except MalformedCheckpoint:
        return False


def _has_padding(source: Source) -> bool:
    """PyTorch aligns records by an extra field of its own in the local header."""
    name_length = int.from_bytes(source.read(26, 2), "little")
    return source.read(_LOCAL_HEADER + name_length, 2) == _PADDING


def _has_records(source: Source) -> bool:
    names = read_names(source)
    prefix = names[0].split("/", 1)[0] if names else ""
    return not {f"{prefix}/{mark}" for mark in _MARKS}.isdisjoint(names)


@collector_paused()
def scan(source: Source) -> Layout:
    """A span for every storage; raises :class:`MalformedCheckpoint` when the archive breaks the rules of zip."""
    folder = read_folder(source)
    try:
        spans = _spans_by_pickle(source, folder)
    except MalformedCheckpoint:
        spans = _spans_by_member(folder)
    return Layout(FORMAT, source.size, spans)


@collector_paused()
def leaves(source: Source) -> dict[str, Value]:
    """What the checkpoint holds besides tensors, by path; raises :class:`MalformedCheckpoint`."""
    return name_leaves(read_root(source, read_folder(source).get("data.pkl")))


@collector_paused()
def repeated(source: Source) -> str | None:
    """A name that two values of the checkpoint share; raises :class:`MalformedCheckpoint`."""
    return shared_name(read_root(source, read_folder(source).get("data.pkl")))


def restore(template: int, sides: Sequence[Side], pieces: Sequence[Piece]) -> Iterator[tuple[int, bytes]]:
    """The checksums of records that do not hold what they held; see :mod:`git_theta.formats.building`."""
    from git_theta.formats.zip_checksums import restore_checksums

    return restore_checksums(template, sides, pieces)


@collector_paused()
def write(sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves) -> Iterator[Part]:
    """The archive of the merged tree; its other records are those of ours. See :mod:`git_theta.formats.building`."""
    from git_theta.formats.pytorch_zip_writing import write_zip

    return write_zip(sides, pieces, leaves)


def read_folder(source: Source) -> dict[str, Member]:
    """The members by their path in the folder they share, in file order."""
    members = read_directory(source)
    prefix = members[0].name.split("/", 1)[0] + "/" if members else ""
    return {member.name.removeprefix(prefix): member for member in members}


def _spans_by_pickle(source: Source, folder: dict[str, Member]) -> tuple[Span, ...]:
    """The spans of all storages, with the names and shapes the pickles give them."""
    big_endian = is_big_endian(source, folder.get("byteorder"))
    spans: list[Span] = []
    for pickle, records, prefix in _PICKLES:
        if pickle == "data.pkl" or pickle in folder:
            tensors = name_tensors(read_root(source, folder.get(pickle)), prefix)
            spans += lay_out(tensors, records_in(folder, records), big_endian)
    return tuple(sorted(spans, key=lambda span: (span.start, span.length)))


def read_root(source: Source, member: Member | None, exact: bool = False) -> Value:
    """The value of the pickle in a member; see :func:`read_pickle` for ``exact``."""
    if member is None or not member.stored:
        raise MalformedCheckpoint("the pickle of the archive is missing or compressed")
    return read_pickle(source.read(member.start, member.size), exact=exact)[0]


def is_big_endian(source: Source, member: Member | None) -> bool:
    """Whether the record of the byte order says so; archives from before torch 2.0 have none."""
    return member is not None and member.stored and source.read(member.start, min(member.size, 8)) == b"big"


def records_in(folder: dict[str, Member], path: str) -> dict[str, Record]:
    """The storages in a folder, by key."""
    return {
        name.removeprefix(path): Record(name, member.start, member.compressed_size, member.stored)
        for name, member in folder.items()
        if name.startswith(path) and name != path
    }


def _spans_by_member(folder: dict[str, Member]) -> tuple[Span, ...]:
    """A span for every member that holds something, in file order."""
    return tuple(
        Span(member.start, member.compressed_size, (opaque_group(name, member.compressed_size),))
        for name, member in folder.items()
        if member.compressed_size
    )
