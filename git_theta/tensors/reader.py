"""Values out of the store: a manifest enters, the file's bytes leave in order, every digest checked.

What always holds: the stream ends normally only when every value had its digest; otherwise it raises before its
end, naming group and object. Memory is a few slabs, whatever the size of a group.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import BinaryIO

from git_theta.codecs import CHUNK, DamagedChunk, decode
from git_theta.errors import Exit, ThetaError
from git_theta.model import SKELETON_NAME, Digest, Entry, Inline, Manifest, Oid, Skeleton, Slot, Where
from git_theta.store import DamagedObject, MissingObject, ObjectIndex, Store, read_index
from git_theta.store.container import TRAILER, trailer_length
from git_theta.tensors.flow import SKELETON, Buffers, Slab, file_slabs

SKELETON_IN_MEMORY = 32 << 20
"""A longer skeleton is unpacked into a temporary file of the store while its checkpoint is written."""


class DamagedValue(ThetaError):
    """A group's bytes cannot be had: an object is missing, damaged, or does not hold what the manifest says."""

    exit_code = Exit.DAMAGED

    def __init__(self, group: str, oids: Sequence[Oid], why: str) -> None:
        self.group = group
        self.oids = tuple(oids)
        objects = ", ".join(oids) or "(inline)"
        super().__init__(
            f"group {group!r} cannot be read from object {objects}: {why}",
            hint="git theta pull brings it and writes the file; git theta fetch REV only brings it, for any commit",
        )


class MissingValue(DamagedValue):
    """A group's object is not on this machine."""

    exit_code = Exit.MISSING


@dataclass(frozen=True, slots=True)
class _Stored:
    """One encoded chunk: bytes [start, start + size) of the object, ``length`` bytes once decoded."""

    oid: Oid
    start: int
    size: int
    length: int


class Reader:
    """Reads values of any manifest from one store. Safe to use from several threads."""

    def __init__(self, store: Store, threads: int) -> None:
        self.store = store
        self._threads = threads
        self._indexes: dict[Oid, ObjectIndex] = {}

    def index(self, oid: Oid) -> ObjectIndex:
        """What is in an object; raises :class:`MissingObject` or :class:`DamagedObject`."""
        if oid not in self._indexes:
            fd = self.store.open(oid)
            with open(fd, "rb", buffering=0) as file:
                size = os.fstat(fd).st_size
                tail = _read(file, max(size - TRAILER.size, 0), TRAILER.size)
                length = trailer_length(oid, tail, size)
                frame = _read(file, size - TRAILER.size - length, length)
            self._indexes[oid] = read_index(oid, frame, size, CHUNK)
        return self._indexes[oid]

    def value(self, name: str, value: Entry | Skeleton) -> Iterator[memoryview]:
        """One value's bytes, chunk by chunk; each view is valid until the next. Raises :class:`DamagedValue`."""
        buffer = memoryview(bytearray(min(CHUNK, value.length)))
        digest = sha256()
        with _Naming(name, value.where):
            for stored in self._chunks(value.where, value.length, value.digest):
                part = buffer[: len(stored) if isinstance(stored, bytes) else stored.length]
                with _Files(self.store) as files:
                    _load(files, stored, part)
                digest.update(part)
                yield part
        _check(digest.hexdigest(), name, value)

    def chunk(self, name: str, value: Entry | Skeleton, number: int) -> bytes:
        """One chunk of a value, not checked against its digest. Raises :class:`DamagedValue`."""
        with _Naming(name, value.where), _Files(self.store) as files:
            stored = self._chunks(value.where, value.length, value.digest)[number]
            out = bytearray(len(stored) if isinstance(stored, bytes) else stored.length)
            _load(files, stored, memoryview(out))
        return bytes(out)

    def stream(self, manifest: Manifest) -> Iterator[memoryview]:
        """The file's bytes in order; each view is valid until the next. Raises :class:`DamagedValue`."""
        with _skeleton_bytes(self, manifest.skeleton) as skeleton:
            yield from _Assembly(self, manifest, skeleton, self._threads).run()

    def check(self, manifest: Manifest) -> list[DamagedValue]:
        """Decode every value of ``manifest`` and return what is wrong, one error per value."""

        def one(item: tuple[str, Entry | Skeleton]) -> DamagedValue | None:
            try:
                for _ in self.value(*item):
                    pass
            except DamagedValue as error:
                return error
            return None

        with ThreadPoolExecutor(self._threads) as pool:
            return [error for error in pool.map(one, manifest.values()) if error]

    def lists(self, where: Where, length: int, digest: Digest) -> bool:
        """Whether the objects at ``where`` say themselves that this value is there; decodes nothing."""
        try:
            self._chunks(where, length, digest)
        except (DamagedObject, MissingObject, OSError):
            return False
        return True

    def _chunks(self, where: Where, length: int, digest: Digest) -> list[_Stored | bytes]:
        """The stored chunks that concatenate to a value; inline bytes stand for themselves."""
        if isinstance(where, Inline):
            return [where.data] if where.data else []
        found: list[_Stored | bytes] = []
        at = 0
        for slot in where:
            if at % CHUNK:
                raise DamagedObject(slot.oid, f"the part before slot {slot.index} ends inside a chunk, at {at:,}")
            found += self._slot(slot, at, digest)
            at += self.index(slot.oid).slots[slot.index].length
        if at != length:
            raise DamagedObject(where[-1].oid, f"its slots hold {at:,} bytes of the value, expected {length:,}")
        return found

    def _slot(self, slot: Slot, at: int, digest: Digest) -> Iterator[_Stored]:
        index = self.index(slot.oid)
        if slot.index >= len(index.slots):
            raise DamagedObject(slot.oid, f"it has {len(index.slots)} slots, slot {slot.index} was asked for")
        record = index.slots[slot.index]
        if record.kind != "dense":
            raise DamagedObject(slot.oid, f"it holds an update of kind {record.kind!r}, which needs a newer git-theta")
        if record.digest != digest or record.offset != at:
            raise DamagedObject(slot.oid, f"slot {slot.index} holds another value")
        start, left = index.starts[slot.index], record.length
        for size in record.chunks:
            yield _Stored(slot.oid, start, size, min(CHUNK, left))
            start, left = start + size, left - CHUNK


class _Files:
    """Objects opened for one task, closed at its end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[Oid, BinaryIO] = {}

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def read(self, oid: Oid, start: int, length: int) -> bytes:
        if oid not in self._open:
            self._open[oid] = open(self._store.open(oid), "rb", buffering=0)  # noqa: SIM115 (closed in __exit__)
        return _read(self._open[oid], start, length)


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _load(files: _Files, stored: _Stored | bytes, out: memoryview) -> None:
    if isinstance(stored, bytes):
        out[:] = stored
        return
    payload = files.read(stored.oid, stored.start, stored.size)
    try:
        decode(payload, stored.length, out)
    except DamagedChunk as error:
        raise DamagedObject(stored.oid, str(error)) from None


def _check(found: str, name: str, value: Entry | Skeleton) -> None:
    if found != value.digest:
        why = f"its bytes have sha256 {found[:16]}..., expected {value.digest[:16]}..."
        raise DamagedValue(name, _oids(value.where), why)


def _oids(where: Where) -> list[Oid]:
    return [] if isinstance(where, Inline) else list(dict.fromkeys(slot.oid for slot in where))


class _Naming:
    """Turns an object's error, and the system's when it cannot be read, into the group's."""

    def __init__(self, group: str, where: Where) -> None:
        self._group, self._where = group, where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (DamagedObject, MissingObject)):
            kind = MissingValue if isinstance(error, MissingObject) else DamagedValue
            raise kind(self._group, [error.oid], f"it {str(error).removeprefix(f'object {error.oid} ')}") from None
        if isinstance(error, OSError):
            raise DamagedValue(self._group, _oids(self._where), error.strerror or str(error)) from error


@contextlib.contextmanager
def _skeleton_bytes(reader: Reader, skeleton: Skeleton) -> Iterator[Callable[[int, memoryview], None]]:
    """The skeleton's bytes at any place: in memory, or in a temporary file when it is long."""
    with reader.store.spool(SKELETON_IN_MEMORY) as spool:
        for part in reader.value(SKELETON_NAME, skeleton):
            spool.write(part)

        def read(offset: int, out: memoryview) -> None:
            spool.seek(offset)
            out[:] = spool.read(len(out))

        yield read


class _Assembly:
    """One file being put together: slabs decoded ahead on threads, handed out in order."""

    def __init__(
        self,
        reader: Reader,
        manifest: Manifest,
        skeleton: Callable[[int, memoryview], None],
        threads: int,
    ) -> None:
        self._reader, self._store = reader, reader.store
        self._manifest, self._skeleton = manifest, skeleton
        self._threads = threads
        self._ahead = threads + 2  # slabs decoded before they are asked for
        self._buffers = Buffers(self._ahead + 2)
        self._running = sha256()  # of the value that spans several slabs and is passing now
        self._current: tuple[int, list[_Stored | bytes]] = (SKELETON, [])

    def run(self) -> Iterator[memoryview]:
        manifest = self._manifest
        gaps = sum(entry.gap for entry in manifest.entries)
        slabs = file_slabs(((e.gap, e.length) for e in manifest.entries), manifest.skeleton.length - gaps)
        ahead: deque[tuple[Slab, memoryview, Future[None]]] = deque()
        workers = ThreadPoolExecutor(self._threads)
        hasher = ThreadPoolExecutor(1)
        try:
            for slab in chain(slabs, [None] * (self._ahead + 1)):
                if slab is not None:
                    ahead.append(self._start(workers, slab))
                    if len(ahead) <= self._ahead:
                        continue
                if not ahead:
                    break
                done, buffer, future = ahead.popleft()
                future.result()
                hashed = hasher.submit(self._hash_long, done, buffer)
                yield buffer[: done.length]
                hashed.result()
                self._buffers.give(buffer)
        finally:
            workers.shutdown(cancel_futures=True)
            hasher.shutdown()

    def _start(self, workers: ThreadPoolExecutor, slab: Slab) -> tuple[Slab, memoryview, Future[None]]:
        """Begin to fill a slab. The skeleton is copied here: its file has one place to read from."""
        buffer = self._buffers.take()
        for piece in slab.pieces:
            if piece.value == SKELETON:
                self._skeleton(piece.offset, buffer[piece.start : piece.start + piece.length])
        return slab, buffer, workers.submit(self._fill, slab, buffer)

    def _fill(self, slab: Slab, buffer: memoryview) -> None:
        with _Files(self._store) as files:
            for piece in slab.pieces:
                if piece.value == SKELETON:
                    continue
                entry = self._manifest.entries[piece.value]
                out = buffer[piece.start : piece.start + piece.length]
                with _Naming(entry.name, entry.where):
                    _load(files, self._chunks(piece.value)[piece.offset // CHUNK], out)
                if piece.length == entry.length:
                    _check(sha256(out).hexdigest(), entry.name, entry)

    def _chunks(self, value: int) -> list[_Stored | bytes]:
        """The value's stored chunks; those of a long value are kept while its slabs pass."""
        held, chunks = self._current
        if held != value:
            entry = self._manifest.entries[value]
            chunks = self._reader._chunks(entry.where, entry.length, entry.digest)
            if entry.length > CHUNK:
                self._current = value, chunks
        return chunks

    def _hash_long(self, slab: Slab, buffer: memoryview) -> None:
        """Go on hashing a value that is longer than a slab; such a value has its slabs to itself."""
        piece = slab.pieces[0]
        if piece.value == SKELETON:
            return
        entry = self._manifest.entries[piece.value]
        if piece.length == entry.length:
            return
        if piece.offset == 0:
            self._running = sha256()
        self._running.update(buffer[: slab.length])
        if piece.offset + piece.length == entry.length:
            _check(self._running.hexdigest(), entry.name, entry)
