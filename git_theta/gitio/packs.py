"""New objects for a repository, by the hundred thousand: kind and bytes enter, ids leave at once, packs at last.

An id follows from an object's bytes, so objects can name each other before Git has seen any. They are gathered
in a scratch file in Git's pack format (gitformat-pack, version 2, no deltas) and handed to ``git index-pack``,
which checks them. What always holds: after :meth:`Packer.flush` Git has every object; before it, possibly none;
one process per pack, memory of one buffer, scratch space of about :data:`PACK_SIZE` and the largest blob.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Protocol

from git_theta.gitio.objects import STREAMING
from git_theta.gitio.process import ask_git

PACK_SIZE = 256 << 20
"""A scratch file that has grown to this size becomes a pack."""
_LEVEL = 1
"""Of zlib. Models hardly compress, ids not at all, and ``git gc`` packs anew."""
_KINDS = {b"commit": 1, b"tree": 2, b"blob": 3, b"tag": 4}
_BLOCK = 1 << 20


class Sink(Protocol):
    """Takes new objects and says what their ids are."""

    def add(self, kind: bytes, data: bytes) -> str:
        """The id of an object of this kind and content."""


class Ids:
    """Says what ids would be, and keeps nothing."""

    def __init__(self, width: int) -> None:
        self._width = width

    def add(self, kind: bytes, data: bytes) -> str:
        """The id the object would have."""
        return _hash(self._width, b"%s %d\0" % (kind, len(data)) + data)


class Packer:
    """Puts objects into the repository at ``root``. ``width`` is that of its object ids."""

    def __init__(self, root: Path, scratch: Path, width: int) -> None:
        self._root, self._scratch, self._width = root, scratch, width
        self._file: IO[bytes] | None = None
        self._added: set[str] = set()
        self._count = 0

    def add(self, kind: bytes, data: bytes) -> str:
        """Take a small object and return its id."""
        oid = _hash(self._width, b"%s %d\0" % (kind, len(data)) + data)
        if oid not in self._added:
            file = self._open()
            file.write(_entry_header(kind, len(data)))
            file.write(zlib.compress(data, _LEVEL))
            self._took(file, oid)
        return oid

    def add_blob(self, size: int, parts: Iterable[bytes | memoryview]) -> str:
        """Take a blob whose ``parts`` make ``size`` bytes, in constant memory, and return its id."""
        file = self._open()
        before = file.tell()
        digest = _new_hash(self._width)
        digest.update(b"blob %d\0" % size)
        file.write(_entry_header(b"blob", size))
        deflate = zlib.compressobj(_LEVEL)
        for part in parts:
            digest.update(part)
            file.write(deflate.compress(part))
        file.write(deflate.flush())
        oid = digest.hexdigest()
        if oid in self._added:
            file.seek(before)
            file.truncate()
        else:
            self._took(file, oid)
        return oid

    def flush(self) -> None:
        """Hand everything taken so far to Git."""
        file, self._file = self._file, None
        if file is None:
            return
        with file:
            if self._count:
                _seal(file, self._count, self._width)
                ask_git(*STREAMING, "index-pack", "--stdin", cwd=self._root, stdin=file)
        self._count = 0

    def close(self) -> None:
        """Forget what was not flushed."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self._scratch.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(prefix="pack-", dir=self._scratch)  # noqa: SIM115 (closed by flush, close)
            self._file.write(_pack_header(0))
        return self._file

    def _took(self, file: IO[bytes], oid: str) -> None:
        self._added.add(oid)
        self._count += 1
        if file.tell() > PACK_SIZE:
            self.flush()


def _seal(file: IO[bytes], count: int, width: int) -> None:
    """Write the number of objects, and the checksum that ends a pack; leaves the file at its beginning."""
    file.seek(0)
    file.write(_pack_header(count))
    file.seek(0)
    digest = _new_hash(width)
    while block := file.read(_BLOCK):
        digest.update(block)
    file.write(digest.digest())
    file.flush()
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # Git reads the descriptor, not Python's buffer


def _pack_header(count: int) -> bytes:
    return b"PACK" + (2).to_bytes(4, "big") + count.to_bytes(4, "big")


def _entry_header(kind: bytes, size: int) -> bytes:
    """Kind and size: four bits of the size, then seven a byte, the high bit saying that more follow."""
    header = [_KINDS[kind] << 4 | size & 15]
    size >>= 4
    while size:
        header[-1] |= 128
        header.append(size & 127)
        size >>= 7
    return bytes(header)


def _hash(width: int, data: bytes) -> str:
    digest = _new_hash(width)
    digest.update(data)
    return digest.hexdigest()


def _new_hash(width: int) -> hashlib._Hash:
    return hashlib.sha1(usedforsecurity=False) if width == 20 else hashlib.sha256()
