"""Clean: the bytes Git streams enter, the manifest leaves, and every object it names is in the store.

Git's stream is the only truth. The worktree file behind it, when there is one, is read only to learn the layout
before the stream arrives, which saves keeping a copy. What always holds: the manifest describes exactly the
bytes of the stream, cut as a scan of those bytes cuts them, even when the file was another one, or changed
meanwhile; a manifest comes back unchanged; a damaged one is refused, never stored as if it were a checkpoint.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import IO, BinaryIO

from git_theta.codecs import CHUNK
from git_theta.formats import FileSource, Scan, Source, scan
from git_theta.formats.source import check_range
from git_theta.manifest import (
    DamagedManifest,
    ManifestFromNewerVersion,
    looks_like_manifest,
    parse,
    render,
    undo_line_ends,
)
from git_theta.model import Manifest
from git_theta.store import Catalogue, Store
from git_theta.tensors import Reader, Writer
from git_theta.tensors.writer import Content

HEAD = 64 << 10
"""Bytes at the beginning that decide whether the worktree file is what Git streams."""
SPOOL_IN_MEMORY = 32 << 20
MANIFEST_LIMIT = 256 << 20
"""No manifest is longer: a million groups make 150 MB."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What Git is to store; ``format`` is None for content that was no checkpoint: a manifest, or nothing.

    ``warning`` says why a file that claims a format was taken as opaque.
    """

    manifest: bytes
    format: str | None = None
    warning: str | None = None


class Cleaner:
    """Turns content into manifests. ``progress`` is told the bytes as they pass."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        threads: int,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._store = store
        self._reader = Reader(store, threads)
        self._writer = Writer(store, catalogue, self._reader, threads)
        self._progress = progress

    def clean(
        self,
        content: Content,
        *,
        worktree_file: Path | None = None,
        priors: Callable[[], Sequence[Manifest]] = tuple,
        forced_format: str | None = None,
        committed: Callable[[], Collection[bytes | None]] = tuple,
    ) -> Cleaned:
        """The manifest of ``content``.

        ``worktree_file`` may be the file the content comes from. ``priors`` gives earlier versions of it, the
        preferred first, when they are needed, ``committed`` the texts Git has for it. Raises
        :class:`DamagedManifest` for content that begins as a manifest and is none, OSError when the store cannot
        be written. Nothing is the manifest of nothing.
        """
        buffer = memoryview(bytearray(HEAD))
        head = bytes(buffer[: content.readinto(buffer)])
        stream = _Prefixed(head, content)
        if not head:
            # Git takes an empty worktree file for an empty blob without asking; anything else would be a change.
            return Cleaned(b"")
        if looks_like_manifest(head):
            return Cleaned(self._manifest(stream, committed))
        hint = _open_hint(worktree_file, head)
        if hint is None:
            return self._clean_spooled(stream, priors, forced_format)
        with hint:
            return self._clean_live(hint, stream, priors, forced_format)

    def _manifest(self, stream: _Prefixed, committed: Callable[[], Collection[bytes | None]]) -> bytes:
        """The manifest in ``stream``, unchanged.

        A damaged one that Git has already passes: refusing what is not new would stop every command that only
        looks at the file, ``git status`` and ``git checkout`` of another branch among them.
        """
        buffer = bytearray()
        block = memoryview(bytearray(1 << 20))
        while count := stream.readinto(block):
            buffer += block[:count]
            if len(buffer) > MANIFEST_LIMIT:
                break
        text = undo_line_ends(bytes(buffer))
        try:
            parse(text)
        except DamagedManifest:
            if text not in committed():
                raise
        except ManifestFromNewerVersion:
            pass  # what it says only a newer git-theta knows, and refusing it would stop git status and checkout here
        return text

    def _clean_live(
        self,
        hint: BinaryIO,
        stream: _Prefixed,
        priors: Callable[[], Sequence[Manifest]],
        forced: str | None,
    ) -> Cleaned:
        """Cut the stream as the worktree file is cut; where that was wrong, start again from what was stored."""
        recorder = _Recorder(FileSource(hint, os.fstat(hint.fileno()).st_size))
        found = scan(recorder, forced)
        result = self._writer.write(
            found.layout, stream, priors=priors(), reread=partial(_read_again, hint), progress=self._progress
        )
        over = memoryview(bytearray(HEAD))
        extra = stream.readinto(over)
        if result.length == found.layout.size and not extra and self._holds(result.manifest, found, recorder, forced):
            return Cleaned(render(result.manifest), found.layout.format, found.warning)
        with self._store.spool(SPOOL_IN_MEMORY) as spool:
            left = result.length
            for part in self._reader.stream(result.manifest) if left else ():
                spool.write(part[:left])
                left -= min(left, len(part))
                if not left:  # the rest is padding
                    break
            spool.write(over[:extra])
            _copy(stream, spool)
            return self._clean_file(spool, priors, forced)

    def _holds(self, manifest: Manifest, found: Scan, recorder: _Recorder, forced: str | None) -> bool:
        """Whether a scan of the bytes that came would have given the same layout.

        It would when every byte the scan read came again. Otherwise the scan is repeated on the bytes that came,
        and must agree.
        """
        source = _StoredSource(self._reader, manifest)
        return recorder.agrees(source) or scan(source, forced) == found

    def _clean_spooled(
        self, stream: _Prefixed, priors: Callable[[], Sequence[Manifest]], forced: str | None
    ) -> Cleaned:
        with self._store.spool(SPOOL_IN_MEMORY) as spool:
            _copy(stream, spool)
            return self._clean_file(spool, priors, forced)

    def _clean_file(self, file: IO[bytes], priors: Callable[[], Sequence[Manifest]], forced: str | None) -> Cleaned:
        """Clean a private file nobody else can write to."""
        size = file.seek(0, os.SEEK_END)
        found = scan(FileSource(file, size), forced)
        file.seek(0)
        result = self._writer.write(found.layout, _FileContent(file), priors=priors(), progress=self._progress)
        return Cleaned(render(result.manifest), found.layout.format, found.warning)


class _Prefixed:
    """A stream whose first bytes have been looked at already."""

    def __init__(self, head: bytes, rest: Content) -> None:
        self._head, self._rest = memoryview(head), rest

    def readinto(self, target: memoryview) -> int:
        count = min(len(target), len(self._head))
        target[:count] = self._head[:count]
        self._head = self._head[count:]
        return count + self._rest.readinto(target[count:]) if count < len(target) else count


class _FileContent:
    """A whole file as content."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readinto(self, target: memoryview) -> int:
        return _fill(self._file, target)


class _Recorder:
    """A source that remembers what was read from it."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._reads: dict[tuple[int, int], bytes] = {}

    @property
    def size(self) -> int:
        return self._source.size

    def read(self, start: int, length: int) -> bytes:
        check_range(start, length, self.size)
        before = self._reads.get((start, length))
        self._reads[start, length] = b""  # agrees with nothing, if the file has lost these bytes or changed them
        data = self._source.read(start, length)
        digest = sha256(data).digest()
        if before in (None, digest):
            self._reads[start, length] = digest
        return data

    def agrees(self, other: Source) -> bool:
        """Whether ``other`` gives the same bytes for everything that was read."""
        return all(sha256(other.read(*place)).digest() == digest for place, digest in self._reads.items())


class _StoredSource:
    """A file that went by, read back from where it was stored. Holds at most four chunks."""

    def __init__(self, reader: Reader, manifest: Manifest) -> None:
        self.size = manifest.size
        self._reader = reader
        self._values = tuple(manifest.values())
        self._chunk = lru_cache(maxsize=4)(self._load)
        self._starts, self._parts = [0], [(0, 0)]  # per part: number of its value, and where in it the part begins
        at = skeleton = 0
        for number, entry in enumerate(manifest.entries, 1):
            skeleton, at = skeleton + entry.gap, at + entry.gap
            self._begin(at, number, 0)
            at += entry.length
            self._begin(at, 0, skeleton)

    def _begin(self, at: int, value: int, offset: int) -> None:
        """A part begins at byte ``at``; one that begins there already is empty, and gives way."""
        if self._starts[-1] == at:
            self._parts[-1] = value, offset
        else:
            self._starts.append(at)
            self._parts.append((value, offset))

    def _load(self, value: int, number: int) -> bytes:
        return self._reader.chunk(*self._values[value], number)

    def read(self, start: int, length: int) -> bytes:
        check_range(start, length, self.size)
        found = bytearray()
        part = bisect_right(self._starts, start) - 1
        while len(found) < length:
            value, offset = self._parts[part]
            at = start + len(found)
            end = min([start + length, *self._starts[part + 1 : part + 2]])
            number, within = divmod(at - self._starts[part] + offset, CHUNK)
            found += self._chunk(value, number)[within : within + end - at]
            part += start + len(found) == end
        return bytes(found)


def _open_hint(path: Path | None, head: bytes) -> BinaryIO | None:
    """The worktree file, if it is an ordinary file that begins like the stream; None otherwise.

    A head shorter than :data:`HEAD` is the whole stream.
    """
    if path is None:
        return None
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")]  # a pipe must not hold us
    try:
        fd = os.open(path, os.O_RDONLY | sum(flags))
    except OSError:
        return None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or (len(head) < HEAD and status.st_size != len(head)):
        os.close(fd)
        return None
    file = open(fd, "rb", buffering=0)  # noqa: SIM115 (returned open)
    if file.read(len(head)) == head:
        return file
    file.close()
    return None


def _read_again(file: BinaryIO, offset: int, view: memoryview) -> bool:
    try:
        file.seek(offset)
        return _fill(file, view) == len(view)
    except OSError:
        return False


def _fill(file: IO[bytes], view: memoryview) -> int:
    """Read until ``view`` is full or the file ends; returns how much was read."""
    filled = 0
    while filled < len(view):
        part = file.read(min(len(view) - filled, 1 << 20))
        if not part:
            break
        view[filled : filled + len(part)] = part
        filled += len(part)
    return filled


def _copy(stream: Content, target: IO[bytes]) -> None:
    block = memoryview(bytearray(1 << 20))
    while count := stream.readinto(block):
        target.write(block[:count])
