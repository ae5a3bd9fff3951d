"""Objects as files: put, get, has. Many processes may share one store.

Enters: payloads, written piece by piece into a :class:`Draft`. Leaves: files named by the sha256 of their
payload, under ``objects/aa/bb/`` (Git LFS's own media layout, so that Git LFS can send them). What always
holds: a file under ``objects/`` was complete when it got its name; what a crash leaves behind lies in ``tmp/``
and is never looked at.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, cast

from git_theta.errors import Exit, ThetaError
from git_theta.model import Oid

DAY = 86_400
"""Seconds. A use is noted at most once a day, so prune must leave alone whatever is younger than two."""


class MissingObject(ThetaError):
    """An object is not in the store, or is not the size it should be."""

    exit_code = Exit.MISSING

    def __init__(self, oid: Oid, found: str) -> None:
        super().__init__(f"object {oid} {found}", hint="git theta fetch")
        self.oid = oid


class Store:
    """The objects below ``root``; ``root`` is made when something is first put."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = root / "objects"
        self.tmp = root / "tmp"
        self.used = root / "used"

    def path(self, oid: Oid) -> Path:
        """Where the object is, or would be."""
        return self.objects / oid[:2] / oid[2:4] / oid

    def stat(self, oid: Oid) -> os.stat_result | None:
        """The object's file status, or None when it is not here."""
        return _stat(self.path(oid))

    def has(self, oid: Oid, size: int) -> bool:
        """Whether the object is here and of its right size."""
        found = self.stat(oid)
        return found is not None and found.st_size == size

    def use(self, oid: Oid) -> bool:
        """Begin the object's age anew, because something is about to name it; False when it is not here.

        The note is a file beside the objects: an object's own file may be a hard link that another store shares,
        and its change time is what the catalogue trusts.
        """
        if self.youth(oid) < time.time() - DAY:
            with contextlib.suppress(OSError):  # a store that cannot be written cannot be pruned either
                make_shared_folder(self.used)
                note = self.used / oid
                note.unlink(missing_ok=True)  # it may be somebody else's
                note.touch()
        # Asked last: prune takes an object away first and looks for the note then.
        return self.stat(oid) is not None

    def youth(self, oid: Oid) -> float:
        """When the object was stored or last used, in seconds since the epoch; 0 when neither is known."""
        found = (self.stat(oid), _stat(self.used / oid))
        return max((status.st_mtime for status in found if status), default=0)

    def open(self, oid: Oid) -> int:
        """A file descriptor to read the object from; raises :class:`MissingObject`."""
        try:
            return os.open(self.path(oid), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except (FileNotFoundError, NotADirectoryError):
            raise MissingObject(oid, "is not in the local store") from None

    def draft(self) -> Draft:
        """A new object, to be written and then put."""
        self.tmp.mkdir(parents=True, exist_ok=True)
        return Draft(self)

    def spool(self, in_memory: int) -> IO[bytes]:
        """A nameless scratch file, in memory up to ``in_memory`` bytes, on the store's own disk beyond."""
        with contextlib.suppress(OSError):  # a store that cannot be written can still be read
            self.tmp.mkdir(parents=True, exist_ok=True)
        return cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=in_memory, dir=str(self.tmp)))

    def oids(self) -> Iterator[tuple[Oid, int]]:
        """Every object here with its size, in order of oid."""
        for folder in sorted(self.objects.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]")):
            for file in sorted(folder.iterdir()):
                status = _stat(file) if len(file.name) == 64 else None
                if status:  # another process may be pruning
                    yield Oid(file.name), status.st_size

    def quarantine(self, oid: Oid) -> None:
        """Take a corrupt object out of sight, so that the next fetch or add brings a good one. Keeps the bytes."""
        aside = self.root / "corrupt"
        aside.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path(oid), aside / oid)


class Draft:
    """An object being written: bytes go to a temporary file of the store, hashed on the way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fd, name = tempfile.mkstemp(prefix="draft-", dir=store.tmp)
        self._path = Path(name)
        self._hash = sha256()
        self._named = False
        self.size = 0

    def write(self, buffers: Iterable[bytes | bytearray | memoryview]) -> int:
        """Append ``buffers``; returns how many bytes they held. Raises OSError (disk full) as the system does."""
        before = self.size
        for buffer in buffers:
            self._hash.update(buffer)
            view = memoryview(buffer).cast("B")
            while view:
                view = view[os.write(self._fd, view) :]
            self.size += memoryview(buffer).nbytes
        return self.size - before

    @property
    def digest(self) -> Oid:
        """The name the object would get now."""
        return Oid(self._hash.hexdigest())

    def put(self) -> Oid:
        """Give the object its name. One that is there already is replaced: this one is known to be whole."""
        oid = self.digest
        if hasattr(os, "fchmod"):
            os.fchmod(self._fd, 0o444)
        self._close()
        path = self._store.path(oid)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._path, path)
        self._named = True
        return oid

    def discard(self) -> None:
        """Forget the draft. Harmless after :meth:`put`; needed after one that failed."""
        self._close()
        if not self._named:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def make_shared_folder(path: Path) -> None:
    """With the permissions of the folder above: a store on a shared disk stays writable for the whole team."""
    if path.is_dir():
        return
    make_shared_folder(path.parent)
    with contextlib.suppress(FileExistsError):  # somebody else was faster
        path.mkdir()
        path.chmod(path.parent.stat().st_mode & 0o7777)
