"""Groups that both sides changed: what to combine enters, their merged values are in the store.

The numbers of a group pass in blocks from the store through the strategy back into the store, several groups beside
each other. What always holds: the result depends on values, strategy and seed alone, not on threads or their timing;
memory is a few blocks for each thread, whatever the size of a group (as far as the strategy itself keeps to that).
"""

from __future__ import annotations

import contextlib
import queue
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from threading import Event

from git_theta.errors import ThetaError
from git_theta.merge.registry import Choice
from git_theta.merge.task import BLOCK, Block, Task
from git_theta.model import Digest, Entry, Layout, Manifest, Span, StoredObject
from git_theta.tensors import Reader, Writer
from git_theta.tensors.elements import elements, numbers
from git_theta.tensors.feed import Feed

_QUEUED = 16
"""Blocks of one group that may wait to be written."""

_LOOK = 0.1
"""Seconds after which who waits for a place looks whether anybody still wants what it has."""


@dataclass(frozen=True, slots=True)
class Job:
    """One span to make: its ``entry`` in the version it is like, the values to combine, and how."""

    entry: Entry
    choice: Choice
    base: Entry | None
    models: tuple[Entry, ...]
    weights: tuple[float, ...] | None = None
    fisher: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Combined:
    """Entries with the new values, in the jobs' order, their CRC-32, and the objects they need."""

    entries: tuple[Entry, ...] = ()
    crcs: tuple[int, ...] = ()
    objects: tuple[StoredObject, ...] = ()


class StoredNumbers:
    """An operand out of the store."""

    def __init__(self, reader: Reader, entry: Entry) -> None:
        self._reader, self._entry = reader, entry

    @property
    def digest(self) -> Digest:
        """Of the span's bytes."""
        return self._entry.digest

    def blocks(self) -> Iterator[Block]:
        """The span's numbers, decoded and verified."""
        reading = elements(self._entry.groups[0].dtype)
        feed = Feed(self._reader.value(self._entry.name, self._entry))
        length = BLOCK * reading.stored.itemsize
        while data := feed.take(length):
            yield reading.values(reading.words(data))


def combine(
    jobs: Sequence[Job],
    reader: Reader,
    writer: Writer,
    *,
    priors: Sequence[Manifest],
    threads: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Combined:
    """Store what every job makes. Raises :class:`ThetaError` for values that cannot be read, and OSError."""
    if not jobs:
        return Combined()
    spans, at = [], 0
    for job in jobs:
        spans.append(Span(at, job.entry.length, job.entry.groups))
        at += job.entry.length
    pool = ThreadPoolExecutor(threads)
    patient = True
    content = _Content(_produce(jobs, reader, pool, threads, seed), len(jobs))
    try:
        result = writer.write(Layout("opaque", at, tuple(spans)), content, priors=priors, progress=progress)
    except KeyboardInterrupt:
        patient = False  # nobody waits for a strategy that may never end
        raise
    finally:
        content.close()
        pool.shutdown(wait=patient, cancel_futures=True)
    if result.length != at:
        raise ThetaError(f"a strategy made {result.length:,} bytes of numbers, expected {at:,}")
    return Combined(result.manifest.entries, tuple(content.crcs), result.manifest.objects)


def _task(job: Job, reader: Reader, seed: int) -> Task:
    group, count = job.entry.groups[0], numbers(job.entry)
    shape = group.shape if group.view is None and prod(group.shape) == count else (count,)
    base = StoredNumbers(reader, job.base) if job.base else None
    models = tuple(StoredNumbers(reader, entry) for entry in job.models)
    fisher = tuple(StoredNumbers(reader, entry) for entry in job.fisher)
    return Task(group.name, shape, count, base, models, job.weights, fisher, seed)


_Line = queue.Queue["bytes | BaseException | None"]
"""The bytes of one job, then None, or why there are no more."""


def _produce(
    jobs: Sequence[Job], reader: Reader, pool: ThreadPoolExecutor, threads: int, seed: int
) -> Iterator[tuple[int, bytes]]:
    """The bytes of all jobs in order, with the number of the job they belong to; workers run ahead."""
    stopped = Event()

    def put(line: _Line, item: bytes | BaseException | None) -> None:
        """Wait for a place in the line, unless nobody takes from it any more."""
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                line.put(item, timeout=_LOOK)
                return

    def work(job: Job, line: _Line) -> None:
        try:
            encode = elements(job.entry.groups[0].dtype).encode
            for block in job.choice.combine(_task(job, reader, seed)):
                if stopped.is_set():
                    break
                put(line, encode(block))
        except BaseException as error:  # noqa: BLE001 (raised again by whoever takes from the line)
            put(line, error)
        else:
            put(line, None)

    waiting: deque[_Line] = deque()
    left = iter(jobs)
    try:
        for number in range(len(jobs)):
            while len(waiting) <= threads and (job := next(left, None)) is not None:
                waiting.append(queue.Queue(_QUEUED))
                pool.submit(work, job, waiting[-1])
            current = waiting.popleft()
            while (item := current.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield number, item
    finally:
        stopped.set()


class _Content:
    """Blocks one after the other as the content of a file; notes the CRC-32 of every span on the way."""

    def __init__(self, blocks: Iterator[tuple[int, bytes]], spans: int) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")
        self.crcs = [0] * spans

    def readinto(self, target: memoryview) -> int:
        filled = 0
        while filled < len(target):
            if not self._rest:
                number, data = next(self._blocks, (0, b""))
                if not data:
                    break
                self.crcs[number] = zlib.crc32(data, self.crcs[number])
                self._rest = memoryview(data)
            part = self._rest[: len(target) - filled]
            target[filled : filled + len(part)] = part
            filled, self._rest = filled + len(part), self._rest[len(part) :]
        return filled

    def close(self) -> None:
        """Stop whoever makes the blocks."""
        close = getattr(self._blocks, "close", None)
        if close:
            close()
