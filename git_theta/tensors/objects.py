"""Encoded values into objects: chunks enter in order, named objects leave, on one thread that only writes.

Small values share an object, a long value has its own, a very long one several. What always holds: an object
gets its name only when its last byte is written and every digest in its index is known; after a failure
nothing more is written or named.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

from git_theta.codecs import CHUNK
from git_theta.model import Digest, Entry, Oid, Slot, Where
from git_theta.store import Draft, SlotRecord, Store, render_index
from git_theta.store.container import MAGIC

PACK_VALUE = 1 << 20
"""Values up to this many bytes share objects..."""
PACK_SIZE = 32 << 20
"""...of about this many encoded bytes..."""
PACK_COUNT = 1 << 13
"""...and at most this many values, which keeps an object's index small enough to refuse a forged one early."""
PART = 1 << 30
"""A value longer than this is spread over several objects, because hosts limit the size of one."""

Encoded = Sequence[bytes | bytearray | memoryview]
"""One chunk as the codec gives it: buffers to write one after the other."""


@dataclass(slots=True)
class PendingValue:
    """One span, or the skeleton, on its way into the store."""

    number: int
    name: str
    dtype: str
    start: int
    length: int
    prior: Entry | None = None
    hash: Any = None  # a running sha256; hashlib has no public type for it
    trusting: bool = False
    digest: Digest | None = None
    where: Where | None = None
    same_as: int | None = None
    chunks: list[int] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Step:
    """Something to write, the encoding it waits for, and what to do when the encoder's buffer is free again."""

    take: Callable[[], None]
    future: Future[Any] | None = None
    release: Callable[[], None] | None = None

    def let_go(self) -> None:
        """Give back the buffer, once the worker too has let go of it."""
        if self.future is not None:
            # Not concurrent.futures.wait: it waits forever for what a pool's shutdown has cancelled.
            with contextlib.suppress(CancelledError):
                self.future.exception()
        if self.release:
            self.release()


class ObjectOutput:
    """Writes encoded chunks into objects, in order, on a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[_Step | None] = queue.SimpleQueue()
        self._pack: Draft | None = None
        self._packed: list[PendingValue] = []
        self.failure: BaseException | None = None
        self.new_bytes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def batch(
        self, future: Future[list[tuple[PendingValue, list[Encoded]]]], release: Callable[[], None] | None
    ) -> None:
        """Small values, each a whole."""

        def write() -> None:
            for value, chunks in future.result():
                if value.length <= PACK_VALUE:
                    self._write_packed(value, chunks)
                else:
                    self._write_chunk(value, chunks[0])
                    self._put_long(value)

        self._queue.put(_Step(write, future, release))

    def chunk(self, value: PendingValue, future: Future[Encoded], release: Callable[[], None] | None) -> None:
        """The next chunk of a long value."""
        self._queue.put(_Step(lambda: self._write_chunk(value, future.result()), future, release))

    def end(self, value: PendingValue) -> None:
        """A long value is complete: name its objects, or drop them when it was stored already."""
        self._queue.put(_Step(lambda: self._put_long(value)))

    def finish(self) -> None:
        """Write all that is waiting."""
        self._queue.put(_Step(self._put_pack))
        self._queue.put(None)
        self._thread.join()

    def close(self, values: Sequence[PendingValue]) -> None:
        """Stop, and remove what has no name."""
        self._queue.put(None)
        self._thread.join()
        for draft in [self._pack, *(draft for value in values for draft in value.drafts)]:
            if draft is not None:
                draft.discard()

    def _run(self) -> None:
        """Take every step in order. After a failure none is taken: a draft with a hole must never get a name."""
        while (step := self._queue.get()) is not None:
            try:
                if self.failure is None:
                    step.take()
            except BaseException as error:  # noqa: BLE001 (handed to the caller's thread, which raises it)
                self.failure = error
            step.let_go()

    def _write_packed(self, value: PendingValue, chunks: list[Encoded]) -> None:
        if self._pack is None:
            self._pack = self._begin()
        value.chunks = [self._pack.write(chunk) for chunk in chunks]
        self._packed.append(value)
        if self._pack.size >= PACK_SIZE or len(self._packed) == PACK_COUNT:
            self._put_pack()

    def _put_pack(self) -> None:
        if self._pack is None:
            return
        draft, packed = self._pack, self._packed
        oid = self._put(draft, [_slot(value, 0, value.length, value.chunks) for value in packed])
        for index, value in enumerate(packed):
            value.where = (Slot(oid, index),)
        self._pack, self._packed = None, []

    def _write_chunk(self, value: PendingValue, chunk: Encoded) -> None:
        if len(value.chunks) % (PART // CHUNK) == 0:
            value.drafts.append(self._begin())
        value.chunks.append(value.drafts[-1].write(chunk))

    def _put_long(self, value: PendingValue) -> None:
        """The digest is known only now, so the parts of a long value wait for their index until its end."""
        if value.where is not None or value.same_as is not None:
            value.chunks = []
            for draft in value.drafts:
                draft.discard()
            return
        slots = []
        for part, draft in enumerate(value.drafts):
            chunks = value.chunks[part * (PART // CHUNK) : (part + 1) * (PART // CHUNK)]
            start = part * PART
            oid = self._put(draft, [_slot(value, start, min(PART, value.length - start), chunks)])
            slots.append(Slot(oid, 0))
        value.where = tuple(slots)

    def _begin(self) -> Draft:
        draft = self._store.draft()
        try:
            draft.write([MAGIC])
        except BaseException:
            draft.discard()
            raise
        return draft

    def _put(self, draft: Draft, slots: list[SlotRecord]) -> Oid:
        draft.write([render_index(slots)])
        self.new_bytes += draft.size
        return draft.put()


def _slot(value: PendingValue, offset: int, length: int, chunks: list[int]) -> SlotRecord:
    if value.digest is None:
        raise AssertionError(f"group {value.name!r} is written before it was hashed")
    return SlotRecord("dense", value.dtype, value.digest, offset, length, tuple(chunks))
