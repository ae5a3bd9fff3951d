"""torch.save before 1.6: five pickles in a row, then the bytes of every storage, each after its element count.

A :class:`Source` enters, a :class:`Layout` leaves. The pickles are a magic number, a protocol number, facts about the
machine, the checkpoint itself, and the keys of its storages in the order they follow; storages are little-endian on
every machine. What always holds: a span covers exactly the bytes of one storage. The still older tar format has no
reader. Format: ``_legacy_save`` in ``torch/serialization.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from git_theta.collector import collector_paused
from git_theta.formats.pickle_reader import Value, read_pickle
from git_theta.formats.pieces import Leaves, Part, Piece, Side, sides_of
from git_theta.formats.pytorch_tensors import (
    Record,
    Tensor,
    lay_out,
    name_leaves,
    name_tensors,
    shared_name,
    storage_bytes,
)
from git_theta.formats.source import READ_LIMIT, MalformedCheckpoint, Source
from git_theta.model import Layout

FORMAT = "pytorch-legacy"

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAGIC_PICKLE = 64
_COUNT = 8  # bytes that say how many elements a storage has
_FIRST_WINDOW = 1 << 20


def sniff(source: Source) -> bool:
    """Whether the file begins with a pickle of torch's magic number, in any pickle protocol."""
    try:
        magic, _ = read_pickle(source.read(0, min(source.size, _MAGIC_PICKLE)))
    except MalformedCheckpoint:
        return False
    return type(magic) is int and magic == _MAGIC


@collector_paused()
def scan(source: Source) -> Layout:
    """A span for every storage; raises :class:`MalformedCheckpoint` when pickles and storages do not fit together."""
    head = _read_head(source)
    tensors = name_tensors(head.root)
    return Layout(FORMAT, source.size, lay_out(tensors, _find_records(source, tensors, head.keys, head.end)))


@collector_paused()
def leaves(source: Source) -> dict[str, Value]:
    """What the checkpoint holds besides tensors, by path; raises :class:`MalformedCheckpoint`."""
    return name_leaves(_read_head(source).root)


@collector_paused()
def repeated(source: Source) -> str | None:
    """A name that two values of the checkpoint share; raises :class:`MalformedCheckpoint`."""
    return shared_name(_read_head(source).root)


@collector_paused()
def write(sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves) -> list[Part]:
    """What ours says of its machine, the merged tree, the storages; see :mod:`git_theta.formats.building`."""
    from git_theta.formats.pickle_writer import write_pickle
    from git_theta.formats.pytorch_trees import merge_trees, read_tree

    used = sides_of(pieces, leaves)
    trees = []
    for at, side in enumerate(sides):
        if side.layout.format == FORMAT:
            head = _read_head(side.frame, exact=at in used)
            records = _find_records(side.frame, name_tensors(head.root), head.keys, head.end)
            trees.append(read_tree(at, side, head.root, records, at in used))
    root = write_pickle(merge_trees(trees, pieces, leaves))
    start = sides[0].frame.read(0, _read_head(sides[0].frame).start)
    parts: list[Part] = [start + root + write_pickle([str(place) for place in range(len(pieces))])]
    for piece in pieces:
        side = sides[piece.side]
        parts += [side.frame.read(side.layout.spans[piece.span].start - _COUNT, _COUNT), piece]
    return parts


class _Head(NamedTuple):
    """The checkpoint itself, whose pickle begins at ``start``, and the keys of the storages, which begin at ``end``."""

    root: Value
    keys: list[str]
    start: int
    end: int


def _read_head(source: Source, exact: bool = False) -> _Head:
    """What the pickles say; see :func:`read_pickle` for ``exact``.

    How long the pickles are is known only at their end, so ever more of the file is read until they end.
    """
    window = _FIRST_WINDOW
    while window < min(source.size, READ_LIMIT):
        try:
            return _parse_head(source.read(0, window), exact)
        except MalformedCheckpoint:
            window *= 8
    return _parse_head(source.read(0, min(source.size, READ_LIMIT)), exact)


def _parse_head(data: bytes, exact: bool) -> _Head:
    positions = [0]
    pickles: list[Value] = []
    for _ in range(5):
        value, position = read_pickle(data, positions[-1], exact)
        pickles.append(value)
        positions.append(position)
    _, protocol, _, root, keys = pickles
    if type(protocol) is not int or protocol != _PROTOCOL:
        raise MalformedCheckpoint(f"the protocol of the file is not {_PROTOCOL}")
    if type(keys) is not list or {*map(type, keys)} - {str}:
        raise MalformedCheckpoint("the keys of the storages are not a list of text")
    return _Head(root, cast("list[str]", keys), positions[3], positions[5])


def _find_records(source: Source, tensors: list[Tensor], keys: list[str], position: int) -> dict[str, Record]:
    """Where each storage is: its element count must be the one its tensors state, since they alone know the dtype."""
    storages = {tensor.storage.key: tensor.storage for tensor in reversed(tensors)}
    records: dict[str, Record] = {}
    for key in keys:
        storage = storages.get(key)
        length = None if storage is None else storage_bytes(storage)
        count = int.from_bytes(source.read(position, _COUNT), "little")
        if storage is None or length is None or count != storage.elements:
            raise MalformedCheckpoint(f"storage {key!r} of {count:,} elements is not the one its tensors describe")
        position += _COUNT
        if position + length > source.size:
            raise MalformedCheckpoint(f"storage {key!r} ends at {position + length:,}, the file at {source.size:,}")
        records[key] = Record(f"storage {key}", position, length)
        position += length
    return records
