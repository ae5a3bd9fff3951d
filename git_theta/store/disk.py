"""Objects as files: put, get, has. Many processes may share one store.

Enters: payloads, written piece by piece into a :class:`Draft`. Leaves: files named by the sha256 of their
payload, under ``objects/aa/bb/`` (Git LFS's own media layout, so that Git LFS can send them). What always
holds: a file under ``objects/`` was complete when it got its name; what a crash leaves behind lies in ``tmp/``
and is never looked at; folders have the permissions of the folder above, and who may look into a folder may
read its objects.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import IO, cast

from git_theta.errors import Exit, ThetaError
from git_theta.model import Oid

_BLOCK = 1 << 20

DAY = 86_400
"""Seconds. A use is noted at most once a day, so prune must leave alone whatever is younger than two."""


class MissingObject(ThetaError):
    """An object is not in the store, or is not the size it should be."""

    exit_code = Exit.MISSING

    def __init__(self, oid: Oid, found: str) -> None:
        super().__init__(f"object {oid} {found}", hint="git theta pull")
        self.oid = oid


class DamagedObject(ThetaError):
    """An object's bytes are not what was stored: truncated, flipped, or never an object of ours."""

    exit_code = Exit.DAMAGED

    def __init__(self, oid: Oid, what: str) -> None:
        super().__init__(f"object {oid} is damaged: {what}", hint="git theta fsck")
        self.oid = oid


class Store:
    """The objects below ``root``; ``root`` is made when something is first put.

    With ``hardened`` an object waits for the disk before it gets its name (``core.fsync``). ``shared`` are
    permissions that new folders get in addition (``core.sharedRepository``); negative, exactly these.
    """

    def __init__(self, root: Path, *, hardened: bool = False, shared: int = 0) -> None:
        self.root = root
        self.hardened = hardened
        self.shared = shared
        self.objects = root / "objects"
        self.tmp = root / "tmp"
        self.used = root / "used"

    def path(self, oid: Oid) -> Path:
        """Where the object is, or would be."""
        return self.objects / oid[:2] / oid[2:4] / oid

    def stat(self, oid: Oid) -> os.stat_result | None:
        """The status of whatever has the object's name, or None when nothing has."""
        return _stat(self.path(oid))

    def has(self, oid: Oid, size: int) -> bool:
        """Whether the object is here and of its right size."""
        found = self.stat(oid)
        return found is not None and stat.S_ISREG(found.st_mode) and found.st_size == size

    def use(self, oid: Oid) -> bool:
        """Begin the object's age anew, because something is about to name it; False when it is not here.

        The note is a file beside the objects: an object's own file may be a hard link that another store shares,
        and its change time is what the catalogue trusts.
        """
        if self.youth(oid) < time.time() - DAY:
            with contextlib.suppress(OSError):  # a store that cannot be written cannot be pruned either
                self.make_folder(self.used)
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
        """A file descriptor to read the object from; raises :class:`MissingObject`, :class:`DamagedObject`.

        What is no regular file is never waited for: opening a pipe would.
        """
        flags = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            fd = os.open(self.path(oid), os.O_RDONLY | flags)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingObject(oid, "is not in the local store") from None
        except OSError as error:
            raise DamagedObject(oid, error.strerror or str(error)) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise DamagedObject(oid, "it is not a regular file")
        return fd

    def sha256(self, oid: Oid) -> str:
        """What the object's bytes add up to; raises as :meth:`open` does."""
        digest = sha256()
        with open(self.open(oid), "rb", buffering=0) as file:
            try:
                while block := file.read(_BLOCK):
                    digest.update(block)
            except OSError as error:
                raise DamagedObject(oid, error.strerror or str(error)) from None
        return digest.hexdigest()

    def is_whole(self, oid: Oid) -> bool:
        """Whether the object is here and its bytes are those its name promises."""
        try:
            return self.sha256(oid) == oid
        except (MissingObject, DamagedObject):
            return False

    def make_folder(self, path: Path) -> None:
        """With the permissions of the folder above: a store on a shared disk stays writable for the whole team.

        Below a folder where nobody may touch what is another's, such as ``/tmp``, the user's own umask counts.
        """
        if path.is_dir():
            return
        self.make_folder(path.parent)
        above = path.parent.stat().st_mode
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            path.mkdir()
            if self.shared or not above & stat.S_ISVTX:
                path.chmod(_folder_mode(above, self.shared))

    def draft(self) -> Draft:
        """A new object, to be written and then put."""
        self.make_folder(self.tmp)
        return Draft(self)

    def spool(self, in_memory: int) -> IO[bytes]:
        """A nameless scratch file, in memory up to ``in_memory`` bytes, on the store's own disk beyond."""
        with contextlib.suppress(OSError):  # a store that cannot be written can still be read
            self.make_folder(self.tmp)
        return cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=in_memory, dir=str(self.tmp)))

    def harden(self, oid: Oid) -> None:
        """Wait until the object is on the disk. Costs next to nothing when it is there already."""
        with open(self.open(oid), "rb") as file:
            _harden(file.fileno())

    def oids(self) -> Iterator[tuple[Oid, int]]:
        """Every object here with its size, in order of oid."""
        for folder in sorted(self.objects.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]")):
            for file in sorted(folder.iterdir()):
                status = _stat(file) if len(file.name) == 64 else None
                if status:  # another process may be pruning
                    yield Oid(file.name), status.st_size

    def quarantine(self, oid: Oid) -> None:
        """Take a corrupt object out of sight, so that the next fetch or add brings a good one. Keeps the bytes."""
        aside = self._aside(oid)
        self.make_folder(aside.parent)
        if os.path.lexists(aside):  # perhaps a folder, which would not give way
            aside = aside.with_name(f"{oid}-{token_hex(4)}")
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path(oid), aside)

    def was_damaged(self, oid: Oid) -> bool:
        """Whether an object of that name was taken out of sight once."""
        return os.path.lexists(self._aside(oid))

    def _aside(self, oid: Oid) -> Path:
        return self.root / "corrupt" / oid


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
        path = self._store.path(oid)
        self._store.make_folder(path.parent)
        if hasattr(os, "fchmod"):
            os.fchmod(self._fd, path.parent.stat().st_mode & 0o444)
        if self._store.hardened:
            _harden(self._fd)
        self._close()
        try:
            os.replace(self._path, path)
        except IsADirectoryError:
            self._store.quarantine(oid)
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


_harden = getattr(os, "fdatasync", os.fsync)
"""Wait until a file's bytes are on the disk; macOS and Windows know only the other name."""


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _folder_mode(above: int, shared: int) -> int:
    """The permissions of a folder below one of mode ``above``; who may read it may enter it."""
    mode = -shared if shared < 0 else (above & 0o777) | shared
    return mode | (mode & 0o444) >> 2 | (stat.S_ISGID if shared else above & stat.S_ISGID)
