"""The index's memory of file status, brought up to date for files we wrote ourselves.

Git believes a worktree file unchanged while its status equals what the index remembers. When we write a
checkpoint, ``git update-index --refresh`` would run the clean filter over all of it again to come to that
belief (0.6 s for 500 MB); instead the status goes straight into the entries (gitformat-index, versions 2 to
4). What always holds: only entries of stage 0 whose blob is the one the file was written from are touched, in
place, under Git's own lock; whatever is not understood is left to Git.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path

_HEADER = struct.Struct(">4sII")
_STATUS = struct.Struct(">IIIIII")  # ctime, mtime (seconds, nanoseconds each), device, inode; then mode
_OWNER = struct.Struct(">III")  # user, group, size
_LOW = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written: its blob id, and its status afterwards.

    None is for a file about to be written: whatever becomes of it, Git will read it to know.
    """

    blob: str
    status: os.stat_result | None


@dataclass(frozen=True, slots=True)
class _Entry:
    start: int
    blob: str
    stage: int
    path: bytes


def remember(index: Path, files: Mapping[bytes, Written]) -> set[bytes]:
    """Put the status of ``files`` (by path from the worktree's root) into the index; returns the paths done.

    Paths that are not returned (locked or split index, unknown version, entry changed meanwhile) are for
    ``git update-index --refresh``.
    """
    lock = index.with_name(index.name + ".lock")
    try:
        fd = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError:
        return set()
    ours = True  # after the replace, a lock of that name is another process's
    try:
        with open(fd, "wb") as file:
            data = bytearray(index.read_bytes())
            done = _patch(data, files)
            file.write(data)
        os.chmod(lock, index.stat().st_mode & 0o777)
        if done:
            os.replace(lock, index)
            ours = False
        return done
    except (OSError, ValueError, IndexError, struct.error):
        return set()
    finally:
        if ours:
            with contextlib.suppress(OSError):
                os.unlink(lock)


def _patch(data: bytearray, files: Mapping[bytes, Written]) -> set[bytes]:
    width = next((width for width in (20, 32) if _seals(data, width)), None)
    if width is None:
        return set()
    done = set()
    for entry in _entries(data, width):
        written = files.get(entry.path)
        if written and entry.stage == 0 and entry.blob == written.blob:
            _put(data, entry.start, written.status)
            done.add(entry.path)
    if any(data[-width:]):  # all zero where index.skipHash is set
        data[-width:] = _hash(data, width)
    return done


def _hash(data: bytearray, width: int) -> bytes:
    body = memoryview(data)[:-width]
    return sha1(body, usedforsecurity=False).digest() if width == 20 else sha256(body).digest()


def _seals(data: bytearray, width: int) -> bool:
    """Whether the index ends with a checksum of this width, which also tells the width of its object ids."""
    if any(data[-width:]):
        return data[-width:] == _hash(data, width)
    return width == 20 or not any(data[-32:])


def _entries(data: bytearray, width: int) -> Iterator[_Entry]:
    magic, version, count = _HEADER.unpack_from(data)
    if magic != b"DIRC" or version not in (2, 3, 4):
        return
    at, path = _HEADER.size, b""
    for _ in range(count):
        start = at
        blob = data[at + 40 : at + 40 + width].hex()
        at += 40 + width
        (flags,) = struct.unpack_from(">H", data, at)
        at += 4 if flags & 0x4000 else 2
        if version == 4:
            strip, at = _offset(data, at)
            end = data.index(0, at)
            path = path[: len(path) - strip] + bytes(data[at:end])
            at = end + 1
        else:
            end = data.index(0, at)
            path = bytes(data[at:end])
            at = start + ((end - start) // 8 + 1) * 8
        yield _Entry(start, blob, flags >> 12 & 3, path)


def _offset(data: bytearray, at: int) -> tuple[int, int]:
    """The variable-width number of pack offsets, and where it ends."""
    byte = data[at]
    value = byte & 127
    while byte & 128:
        at += 1
        byte = data[at]
        value = (value + 1 << 7) | (byte & 127)
    return value, at + 1


def _put(data: bytearray, start: int, status: os.stat_result | None) -> None:
    if status is None:
        # Git believes a size of zero of no file, and compares content instead.
        _STATUS.pack_into(data, start, *[0] * 6)
        _OWNER.pack_into(data, start + 28, 0, 0, 0)
        return
    size = status.st_size & _LOW
    if status.st_size and not size:
        size = 0x80000000  # as Git 2.43 and later tell a file of 4 GiB from an empty one
    times = (*divmod(status.st_ctime_ns, 10**9), *divmod(status.st_mtime_ns, 10**9))
    _STATUS.pack_into(data, start, *(n & _LOW for n in (*times, status.st_dev, status.st_ino)))
    _OWNER.pack_into(data, start + 28, status.st_uid & _LOW, status.st_gid & _LOW, size)
