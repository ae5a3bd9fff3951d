"""The inside of an object: encoded chunks, then an index that says what they are.

    magic (8 bytes) | chunks of slot 0 | chunks of slot 1 | ... | index | index length (8 bytes) | magic (8 bytes)

The index is one zstd frame of JSON: per slot the update kind, the dtype, the digest and length of the whole
value, the range of it that this slot holds, and the size of every chunk. It stands at the end so that an object
can be written as it is encoded. Every number in it is checked before it is used. A slot of a kind that is not
known here is refused when it is read, not when the object is listed. ``docs/manifest-spec.md`` is normative.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import zstandard

from git_theta.model import Digest, Oid
from git_theta.store.disk import DamagedObject

MAGIC = b"\x89theta1\n"
TRAILER = struct.Struct("<Q8s")
INDEX_LIMIT = 4 << 20
"""Largest index, unpacked. A writer puts at most 8,192 values into an object, at about 200 bytes of index each;
a forged index of this size costs 200 MB while it is parsed, and no more."""


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """One part of one value: bytes [offset, offset + length) of the value with ``digest``.

    ``kind`` is the update that produced the chunks ("dense": none). ``chunks`` are the encoded sizes; each
    chunk decodes to 4 MiB, the last to what remains.
    """

    kind: str
    dtype: str
    digest: Digest
    offset: int
    length: int
    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ObjectIndex:
    """The slots of one object, and for each the place in the file where its chunks begin."""

    slots: tuple[SlotRecord, ...]
    starts: tuple[int, ...]


def render_index(slots: list[SlotRecord]) -> bytes:
    """What follows the last chunk: index, its length, magic."""
    records = [
        {"kind": s.kind, "dtype": s.dtype, "digest": s.digest, "at": s.offset, "length": s.length, "chunks": s.chunks}
        for s in slots
    ]
    text = json.dumps({"slots": records}, separators=(",", ":")).encode()
    frame = zstandard.ZstdCompressor(level=3).compress(text)
    return frame + TRAILER.pack(len(frame), MAGIC)


def trailer_length(oid: Oid, tail: bytes, size: int) -> int:
    """How long the index is, from the object's last 16 bytes; raises :class:`DamagedObject`."""
    length, magic = TRAILER.unpack(tail) if len(tail) == TRAILER.size else (0, b"")
    if magic != MAGIC or length > min(INDEX_LIMIT, size - len(MAGIC) - TRAILER.size):
        raise DamagedObject(oid, "its end is not an object's end")
    return int(length)


def read_index(oid: Oid, frame: bytes, size: int, chunk: int) -> ObjectIndex:
    """The index in ``frame`` of an object of ``size`` bytes whose chunks decode to ``chunk`` bytes each."""
    try:
        # A frame that declares no size, or a false one, is refused by the limit before anything is allocated.
        declared = zstandard.frame_content_size(frame)
        if not 0 <= declared <= INDEX_LIMIT:
            raise DamagedObject(oid, "its index declares an impossible size")
        records = json.loads(zstandard.ZstdDecompressor().decompress(frame))["slots"]
        slots = tuple(_slot(record, chunk) for record in records)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedObject(oid, f"its index cannot be read ({type(error).__name__})") from None
    starts, at = [], len(MAGIC)
    for slot in slots:
        starts.append(at)
        at += sum(slot.chunks)
    if at != size - TRAILER.size - len(frame):
        raise DamagedObject(oid, f"its index describes {at:,} bytes of chunks, found {size:,} bytes in all")
    return ObjectIndex(slots, tuple(starts))


def _slot(record: dict[str, Any], chunk: int) -> SlotRecord:
    chunks = tuple(record["chunks"])
    numbers = (record["at"], record["length"], *chunks)
    if any(type(n) is not int or not 0 <= n < 1 << 63 for n in numbers):
        raise ValueError("a number that cannot be")
    if any(n > chunk + 1 for n in chunks):  # a payload is never longer; whoever reads it allocates as much
        raise ValueError("a chunk that is too long")
    if len(chunks) != -(-record["length"] // chunk):
        raise ValueError("chunks do not cover the length")
    texts = (record["kind"], record["dtype"], record["digest"])
    if any(type(t) is not str for t in texts):
        raise ValueError("a field is not text")
    return SlotRecord(texts[0], texts[1], Digest(texts[2]), record["at"], record["length"], chunks)
