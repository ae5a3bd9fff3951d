"""Write a PyTorch archive of which no version exists: pickles are merged, records numbered anew, tensors untouched.

What always holds: the folder and the records besides pickle and tensors are those of ours, every record starts where
PyTorch would let it start, and a storage that several tensors share stays one record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from zlib import crc32

from git_theta.formats.pickle_writer import write_pickle
from git_theta.formats.pieces import CannotBuild, Leaves, Part, Piece, Side, read_long, sides_of
from git_theta.formats.pytorch_trees import Tree, merge_trees, read_tree
from git_theta.formats.pytorch_zip import FORMAT, is_big_endian, read_folder, read_root, records_in
from git_theta.formats.source import Source
from git_theta.formats.zip_directory import FLAG_UTF8, Member
from git_theta.formats.zip_writing import NewMember, copied, raw_name, rewritten, stored, write_archive

_ALIGNED = 64
_MOST_ALIGNED = 1 << 16


def write_zip(sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves) -> Iterator[Part]:
    """The archive of the merged tree; raises :class:`CannotBuild` and :class:`MalformedCheckpoint`."""
    trees = _read_trees(sides, {0} | sides_of(pieces, leaves))
    root = write_pickle(merge_trees(trees, pieces, leaves))
    ours = sides[0].frame
    folder = read_folder(ours)
    prefix = raw_name(folder["data.pkl"]).removesuffix(b"data.pkl")
    utf8 = folder["data.pkl"].flags & FLAG_UTF8
    records = [
        replace(new, name=b"%sdata/%d" % (prefix, place), flags=utf8)
        for place, new in enumerate(rewritten(sides, pieces))
    ]
    names = list(folder)
    first = next((at for at, name in enumerate(names) if name.startswith("data/")), len(names))
    others = [
        [_other(ours, folder[name], root) for name in part if not name.startswith("data/")]
        for part in (names[:first], names[first:])
    ]
    return write_archive([*others[0], *records, *others[1]], _alignment(ours, folder))


def _other(ours: Source, member: Member, root: bytes) -> NewMember:
    """A record that is no storage: the new pickle, or what ours has there."""
    if member.name.endswith("/data.pkl"):
        return stored(raw_name(member), member.flags, (root,), crc32(root))
    return copied(member, (read_long(ours, member.start, member.compressed_size),))


def _read_trees(sides: Sequence[Side], used: set[int]) -> list[Tree]:
    """What the sides say; those not ``used`` only tell what they have."""
    trees, orders = [], set()
    for at, side in enumerate(sides):
        if side.layout.format != FORMAT:
            continue
        folder = read_folder(side.frame)
        if at in used:
            if "constants.pkl" in folder or any(name.startswith("code/") for name in folder):
                raise CannotBuild("it holds TorchScript, whose code and tensors have to fit together")
            orders.add(is_big_endian(side.frame, folder.get("byteorder")))
        root = read_root(side.frame, folder.get("data.pkl"), exact=at in used)
        trees.append(read_tree(at, side, root, records_in(folder, "data/"), at in used))
    if len(orders) > 1:
        raise CannotBuild("the two sides are PyTorch files of different byte order")
    return trees


def _alignment(source: Source, folder: dict[str, Member]) -> int:
    """Where records may start: at multiples of what the archive says, of 64 where it says nothing."""
    member = folder.get(".storage_alignment")
    text = source.read(member.start, min(member.size, 8)) if member and member.stored else b""
    return int(text) if text.isdigit() and 0 < int(text) <= _MOST_ALIGNED else _ALIGNED
