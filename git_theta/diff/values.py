"""Where the values of one side come from: a group's name enters, its bytes leave, chunk by chunk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from git_theta.diff.finding import Storage
from git_theta.errors import Exit, ThetaError
from git_theta.formats import FileSource, Source
from git_theta.model import SKELETON_NAME, Entry, Inline, Layout, Manifest, Span

if TYPE_CHECKING:
    from git_theta.tensors import Reader

_BLOCK = 1 << 20
SKELETON_LIMIT = 256 << 20
"""A longer skeleton is not looked into for values besides tensors."""


class Values(Protocol):
    """The values of one checkpoint. Safe to use from several threads."""

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The bytes of the span that group ``name`` looks into; raises :class:`ThetaError` where they cannot be had.

        Each view is valid until the next. Only an iterator that was used up has checked what it gave.
        """

    def storage(self, name: str) -> Storage | None:
        """How it is stored; None when it is not."""

    def frame(self) -> Source:
        """The file as far as it is no tensor; bytes of tensors may read as zeros. Raises :class:`ThetaError`."""


class FileChanged(ThetaError):
    """A file became shorter while it was being compared."""

    exit_code = Exit.CHANGED


class StoredValues:
    """Values out of the store. ``reader`` is asked for one when the first value is wanted."""

    def __init__(self, reader: Callable[[], Reader], manifest: Manifest) -> None:
        self._make_reader, self._manifest = reader, manifest

    @cached_property
    def _reader(self) -> Reader:
        return self._make_reader()

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        return {group.name: entry for entry in self._manifest.entries for group in entry.groups}

    def chunks(self, name: str) -> Iterator[memoryview]:
        """Verified bytes."""
        return self._reader.value(name, self._entries[name])

    def storage(self, name: str) -> Storage | None:
        """What the value's objects say about it; None when they are not here."""
        where = self._entries[name].where
        if isinstance(where, Inline):
            return Storage("inline", len(where.data))
        try:
            records = [self._reader.index(slot.oid).slots[slot.index] for slot in where]
        except (ThetaError, OSError, IndexError):
            return None
        return Storage(records[0].kind, sum(sum(record.chunks) for record in records))

    def frame(self) -> Source:
        """The skeleton in its places."""
        from git_theta.tensors.frame import FrameSource  # brings NumPy, which a report of manifests does without

        manifest = self._manifest
        if manifest.skeleton.length > SKELETON_LIMIT:
            raise ThetaError(f"a skeleton of {manifest.skeleton.length:,} bytes is not looked into")
        data = b"".join(bytes(part) for part in self._reader.value(SKELETON_NAME, manifest.skeleton))
        return FrameSource(manifest, data)


class FileValues:
    """Values out of a checkpoint on disk, which nobody has stored."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path = path
        self._layout = layout
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by close)
        self._lock = Lock()

    @cached_property
    def _spans(self) -> dict[str, Span]:
        return {group.name: span for span in self._layout.spans for group in span.groups}

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The file's bytes as they are now."""
        span = self._spans[name]
        for at in range(span.start, span.end, _BLOCK):
            length = min(_BLOCK, span.end - at)
            with self._lock:
                self._file.seek(at)
                part = self._file.read(length)
            if len(part) != length:
                raise FileChanged(f"{self._path}: the file became shorter while it was compared")
            yield memoryview(part)

    def storage(self, name: str) -> None:
        """It is not."""

    def frame(self) -> Source:
        """The whole file."""
        return FileSource(self._file, self._file.seek(0, os.SEEK_END))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
