"""torch.save since 1.6 and TorchScript (``.pt .pth .bin .ckpt``): a zip archive with one stored record per storage.

A :class:`Source` enters, a :class:`Layout` leaves. All members are in one folder, ``<prefix>/``: ``data.pkl`` says
what the checkpoint is, ``data/<key>`` holds storage ``key``; a TorchScript archive has ``constants.pkl`` and
``constants/<key>`` besides. What always holds: every record of a storage is one span. When a pickle cannot be read,
or names records that are not there, every stored member is an opaque group named by its path, so that what did not
change is still stored once. Format: ``torch/serialization.py`` and ``caffe2/serialize/inline_container.h``.
"""

from __future__ import annotations

from git_theta.formats.pickle_reader import read_pickle
from git_theta.formats.pytorch_tensors import Record, collector_paused, lay_out, name_tensors, opaque_group
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
    members = read_directory(source)
    prefix = members[0].name.split("/", 1)[0] + "/" if members else ""
    folder = {member.name.removeprefix(prefix): member for member in members}
    try:
        spans = _spans_by_pickle(source, folder)
    except MalformedCheckpoint:
        spans = _spans_by_member(folder)
    return Layout(FORMAT, source.size, spans)


def _spans_by_pickle(source: Source, folder: dict[str, Member]) -> tuple[Span, ...]:
    """The spans of all storages, with the names and shapes the pickles give them."""
    big_endian = "byteorder" in folder and _read_stored(source, folder["byteorder"]) == b"big"
    spans: list[Span] = []
    for pickle, records, prefix in _PICKLES:
        if pickle == "data.pkl" or pickle in folder:
            tensors = name_tensors(read_pickle(_read_stored(source, folder.get(pickle)))[0], prefix)
            spans += lay_out(tensors, _records(folder, records), big_endian)
    return tuple(sorted(spans, key=lambda span: (span.start, span.length)))


def _read_stored(source: Source, member: Member | None) -> bytes:
    """What a stored member holds, which the source keeps from being too large."""
    if member is None or not member.stored:
        raise MalformedCheckpoint("the pickle of the archive is missing or compressed")
    return source.read(member.start, member.size)


def _records(folder: dict[str, Member], path: str) -> dict[str, Record]:
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
