"""Values into the store: a file's bytes enter in order, a manifest leaves, and every object it names is here.

Three stages run beside each other on slabs: the caller reads, one thread hashes in order and decides, workers
encode, one thread writes objects in order. What always holds: a value whose digest is already stored and
verified here is not stored again; objects get their names only when complete; after an error nothing named was
half-written. Memory is a fixed number of slabs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Protocol

from git_theta.codecs import CHUNK, encode
from git_theta.errors import Exit, ThetaError
from git_theta.manifest import INLINE_LIMIT
from git_theta.model import (
    EMPTY_DIGEST,
    SKELETON_NAME,
    Digest,
    Entry,
    Inline,
    Layout,
    Manifest,
    Oid,
    Skeleton,
    Slot,
    StoredObject,
    Where,
)
from git_theta.store import Catalogue, Store
from git_theta.tensors.flow import SKELETON, Buffers, Piece, Slab, file_slabs
from git_theta.tensors.objects import Encoded, ObjectOutput, PendingValue
from git_theta.tensors.reader import DamagedValue, Reader


class ContentChanged(ThetaError):
    """A value was taken for the stored one, turned out new, and could not be read a second time unchanged."""

    exit_code = Exit.CHANGED


class Content(Protocol):
    """The bytes of the file, from the first on."""

    def readinto(self, target: memoryview) -> int:
        """Fill ``target`` with what comes next; less than its length only at the end."""


Reread = Callable[[int, memoryview], bool]
"""Read the file's bytes from an offset once more into a buffer; False when they cannot be had."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The manifest, how many bytes the content really had, and what was new."""

    manifest: Manifest
    length: int
    new_bytes: int


class Writer:
    """Stores files in one store. One writer takes one file at a time."""

    def __init__(self, store: Store, catalogue: Catalogue, reader: Reader, threads: int) -> None:
        self._store, self._catalogue, self._reader = store, catalogue, reader
        self._threads = threads

    def write(
        self,
        layout: Layout,
        content: Content,
        *,
        priors: Sequence[Manifest] = (),
        reread: Reread | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> WriteResult:
        """Store ``content``, cut as ``layout`` says, and return its manifest.

        ``priors`` are earlier versions of the file, the preferred first: a value that is stored as one of them
        says keeps that place. When content ends before the layout does, zero bytes stand for the rest; bytes
        beyond the layout stay unread: the caller compares :attr:`WriteResult.length` and decides.
        """
        run = _Run(self, layout, priors, reread)
        try:
            length = run.feed(content, progress)
            return run.finish(length)
        finally:
            run.close()


class _Run:
    """The stages at work on one file."""

    def __init__(self, writer: Writer, layout: Layout, priors: Sequence[Manifest], reread: Reread | None) -> None:
        self._store, self._catalogue, self._reader = writer._store, writer._catalogue, writer._reader
        self._layout, self._reread = layout, reread
        by_name = {entry.name: entry for manifest in reversed(priors) for entry in manifest.entries}
        self._prior_places = _places(priors)
        self._values = [
            PendingValue(
                i, span.groups[0].name, span.groups[0].dtype, span.start, span.length, by_name.get(span.groups[0].name)
            )
            for i, span in enumerate(layout.spans)
        ]
        for value in self._values:
            if not value.length:  # no slab brings it
                value.digest, value.where = EMPTY_DIGEST, Inline(b"")
        covered = sum(span.length for span in layout.spans)
        self._skeleton = PendingValue(SKELETON, SKELETON_NAME, "opaque", 0, layout.size - covered)
        self._held = bytearray()  # skeleton bytes that do not make a chunk yet
        self._skeleton_buffers = Buffers(3)  # bounds the skeleton chunks that wait to be written
        self._used: set[Oid] = set()
        self._proven: list[tuple[Digest, tuple[Slot, ...]]] = []
        self._whole: dict[Oid, bool] = {}
        self._first: dict[Digest, int] = {}  # digest to the first value in this file that has it
        self._buffers = Buffers(writer._threads + 6)
        self._slabs: queue.SimpleQueue[tuple[Slab, memoryview] | None] = queue.SimpleQueue()
        self._output = ObjectOutput(self._store)
        self._workers = ThreadPoolExecutor(writer._threads)
        self._failure: BaseException | None = None
        self._decider = threading.Thread(target=self._decide, daemon=True)
        self._decider.start()

    # -- reading ------------------------------------------------------------------------------------------

    def feed(self, content: Content, progress: Callable[[int], None] | None) -> int:
        """Read all slabs of the layout; returns how many bytes there really were."""
        ended = False
        length = 0
        for slab in self._plan():
            self._raise_failure()
            buffer = self._buffers.take()
            got = 0 if ended else content.readinto(buffer[: slab.length])
            if got < slab.length:
                ended = True
                buffer[got : slab.length] = bytes(slab.length - got)
            length += got
            self._slabs.put((slab, buffer))
            if progress:
                progress(got)
        return length

    def _plan(self) -> Iterator[Slab]:
        at, spans = 0, []
        for span in self._layout.spans:
            spans.append((span.start - at, span.length))
            at = span.end
        return file_slabs(spans, self._layout.size - at)

    def finish(self, length: int) -> WriteResult:
        """Wait for the stages and build the manifest."""
        self._slabs.put(None)
        self._decider.join()
        self._raise_failure()
        self._output.finish()
        self._raise_failure()
        new = [v for v in [self._skeleton, *self._values] if v.chunks and isinstance(v.where, tuple)]
        stored = [(v.digest, v.where) for v in new if v.digest and isinstance(v.where, tuple)]
        if stored or self._proven:
            self._catalogue.record([*stored, *self._proven])
        return WriteResult(self._manifest(), length, self._output.new_bytes)

    def close(self) -> None:
        """Stop every stage; whatever has no name yet is removed."""
        self._failure = self._failure or ContentChanged("stopped")
        self._slabs.put(None)
        self._decider.join()
        self._workers.shutdown(cancel_futures=True)
        self._output.close([self._skeleton, *self._values])

    def _raise_failure(self) -> None:
        failure = self._failure or self._output.failure
        if failure:
            raise failure

    # -- hashing and deciding, on one thread -----------------------------------------------------------------

    def _decide(self) -> None:
        while (item := self._slabs.get()) is not None:
            slab, buffer = item
            if self._failure or self._output.failure:
                self._buffers.give(buffer)
                continue
            try:
                self._decide_slab(slab, buffer)
            except BaseException as error:  # noqa: BLE001 (handed to the caller's thread, which raises it)
                self._failure = error
                self._buffers.give(buffer)
        if not self._failure:
            try:
                self._end_skeleton()
            except BaseException as error:  # noqa: BLE001 (as above)
                self._failure = error

    def _decide_slab(self, slab: Slab, buffer: memoryview) -> None:
        first = slab.pieces[0]
        if first.value != SKELETON and first.length < self._values[first.value].length:
            self._long_piece(self._values[first.value], first, buffer)
            return
        batch: list[tuple[PendingValue, memoryview]] = []
        for piece in slab.pieces:
            view = buffer[piece.start : piece.start + piece.length]
            if piece.value == SKELETON:
                self._feed_skeleton(view)
            elif not self._settle(self._values[piece.value], Digest(sha256(view).hexdigest()), view):
                batch.append((self._values[piece.value], view))
        if batch:
            self._output.batch(self._workers.submit(_encode_batch, batch), partial(self._buffers.give, buffer))
        else:
            self._buffers.give(buffer)

    def _settle(self, value: PendingValue, digest: Digest, view: memoryview | None) -> bool:
        """Give a value its digest, and its place when it needs none of its own."""
        value.digest = digest
        if view is not None and len(view) <= INLINE_LIMIT:
            value.where = Inline(bytes(view))
        elif digest in self._first:
            value.same_as = self._first[digest]
        else:
            self._first[digest] = value.number
            value.where = self._known(digest, value.length)
        return value.where is not None or value.same_as is not None

    def _known(self, digest: Digest, length: int) -> Where | None:
        """A verified place of this digest: the one an earlier version of the file names, or the catalogue's.

        The objects themselves must agree, since nothing protects the catalogue's own file from a flipped bit.
        """
        places = self._catalogue.places(digest)
        named = [place for place in self._prior_places.get(digest, ()) if not isinstance(place, Inline)]
        for place in [*named, *sorted(places, key=str)]:
            listed = self._reader.lists(place, length, digest)
            if listed and (place in places or self._proves(place, length, digest)) and self._use(place):
                return place
        return None

    def _proves(self, place: tuple[Slot, ...], length: int, digest: Digest) -> bool:
        """Whether a place that the catalogue does not vouch for decodes to the digest.

        Where the catalogue was deleted, or the repository copied, an unchanged file must give the manifest that Git
        has: stored anew it could lie elsewhere, and would look changed. An object that is damaged anywhere is not
        used for what it still has: storing all of it again makes the same object, and mends it.
        """
        for slot in place:
            if slot.oid not in self._whole:
                self._whole[slot.oid] = self._store.is_whole(slot.oid)
        if not all(self._whole[slot.oid] for slot in place):
            return False
        try:
            for _ in self._reader.value("", Skeleton(length, digest, place)):
                pass
        except DamagedValue:
            return False
        self._proven.append((digest, place))
        return True

    def _use(self, place: tuple[Slot, ...]) -> bool:
        """Keep prune from the objects that the manifest is going to name; False when it was there first."""
        new = {slot.oid for slot in place} - self._used
        self._used |= {oid for oid in new if self._store.use(oid)}
        return new <= self._used

    def _long_piece(self, value: PendingValue, piece: Piece, buffer: memoryview) -> None:
        """One chunk of a value that is longer than a slab."""
        view = buffer[: piece.length]
        if piece.offset == 0:
            value.hash = sha256()
            value.trusting = self._looks_stored(value, view)
        value.hash.update(view)
        if value.trusting:
            self._buffers.give(buffer)
        else:
            future = self._workers.submit(_encode_one, view, value.dtype)
            self._output.chunk(value, future, partial(self._buffers.give, buffer))
        if piece.offset + piece.length == value.length:
            self._end_long(value)

    def _looks_stored(self, value: PendingValue, view: memoryview) -> bool:
        """Whether the value begins like its earlier version, so that hashing it will probably be enough.

        Training changes a group from its first bytes on, so the first chunk tells. When it misleads, the
        value is read a second time.
        """
        prior = value.prior
        if prior is None or prior.length != value.length or self._reread is None or isinstance(prior.where, Inline):
            return False
        if prior.where not in self._catalogue.places(prior.digest):
            return False
        try:
            return bool(next(self._reader.value(value.name, prior)) == view)
        except DamagedValue:
            return False

    def _end_long(self, value: PendingValue) -> None:
        digest = Digest(value.hash.hexdigest())
        known = self._settle(value, digest, None)
        if value.trusting and not known:
            self._store_again(value)
        if not value.trusting or not known:
            self._output.end(value)

    def _store_again(self, value: PendingValue) -> None:
        """Encode a value that was only hashed, from a second reading that must have the same digest."""
        digest = sha256()
        # Buffers of its own: the usual ones may all be waiting, full, for this thread to go on.
        buffers = Buffers(3)
        for offset in range(0, value.length, CHUNK):
            buffer = buffers.take()
            view = buffer[: min(CHUNK, value.length - offset)]
            if self._reread is None or not self._reread(value.start + offset, view):
                break
            digest.update(view)
            future = self._workers.submit(_encode_one, view, value.dtype)
            self._output.chunk(value, future, partial(buffers.give, buffer))
        if digest.hexdigest() != value.digest:
            raise ContentChanged(
                f"the file changed while group {value.name!r} was being read", hint="run `git add` again"
            )

    def _feed_skeleton(self, view: memoryview) -> None:
        self._held += view
        while len(self._held) >= CHUNK and self._skeleton.length > CHUNK:
            self._skeleton_chunk(CHUNK)

    def _skeleton_chunk(self, length: int) -> None:
        value = self._skeleton
        buffer = self._skeleton_buffers.take()
        part = buffer[:length]
        part[:] = self._held[:length]
        del self._held[:length]
        value.hash = value.hash or sha256()
        value.hash.update(part)
        future = self._workers.submit(_encode_one, part, value.dtype)
        self._output.chunk(value, future, partial(self._skeleton_buffers.give, buffer))

    def _end_skeleton(self) -> None:
        value = self._skeleton
        if value.hash is None:
            view = memoryview(bytes(self._held))
            if not self._settle(value, Digest(sha256(view).hexdigest()), view):
                self._output.batch(self._workers.submit(_encode_batch, [(value, view)]), None)
            return
        if self._held:
            self._skeleton_chunk(len(self._held))
        self._settle(value, Digest(value.hash.hexdigest()), None)
        self._output.end(value)

    # -- the manifest ----------------------------------------------------------------------------------------

    def _manifest(self) -> Manifest:
        at, entries = 0, []
        for span, value in zip(self._layout.spans, self._values, strict=True):
            digest, where = self._place(value)
            entries.append(Entry(span.groups, span.start - at, span.length, digest, where))
            at = span.end
        skeleton = Skeleton(self._skeleton.length, *self._place(self._skeleton))
        places = [skeleton.where, *(entry.where for entry in entries)]
        used = {slot.oid for place in places if isinstance(place, tuple) for slot in place}
        return Manifest(self._layout.format, self._layout.size, skeleton, tuple(entries), self._objects(used))

    def _place(self, value: PendingValue) -> tuple[Digest, Where]:
        origin = value
        if value.same_as is not None:
            origin = self._skeleton if value.same_as == SKELETON else self._values[value.same_as]
        if value.digest is None or origin.where is None:
            raise AssertionError(f"group {value.name!r} went through without a place")
        return value.digest, origin.where

    def _objects(self, oids: set[Oid]) -> tuple[StoredObject, ...]:
        found = []
        for oid in sorted(oids):
            status = self._store.stat(oid)
            if status is None:
                raise ContentChanged(f"object {oid} was removed while it was in use", hint="run `git add` again")
            found.append(StoredObject(oid, status.st_size))
        return tuple(found)


def _places(priors: Sequence[Manifest]) -> Mapping[Digest, list[Where]]:
    found: dict[Digest, list[Where]] = {}
    for manifest in priors:
        for _, value in manifest.values():
            found.setdefault(value.digest, []).append(value.where)
    return found


def _encode_batch(batch: list[tuple[PendingValue, memoryview]]) -> list[tuple[PendingValue, list[Encoded]]]:
    """Each value's chunks: one, since what is longer does not share a slab."""
    return [(value, [encode(view, value.dtype)]) for value, view in batch]


def _encode_one(view: memoryview | bytes, dtype: str) -> Encoded:
    return encode(view, dtype)
