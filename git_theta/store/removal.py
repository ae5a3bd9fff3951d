"""Taking objects out of a store that others are using: an oid nobody needs enters, space leaves.

What always holds: an object that is used, or stored anew, while it is being removed stays or comes back. Removal
takes the object out of sight first and looks at its youth then; :meth:`Store.use` notes the use first and looks
for the object then. One of the two sees the other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from git_theta.model import Oid
from git_theta.store.disk import Store

_ASIDE = "pruned-"


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder of the store that is no object, and its size."""

    path: Path
    size: int


def remove(store: Store, oid: Oid, before: float) -> bool:
    """Delete an object that was neither stored nor used since ``before``; returns whether it went."""
    aside = store.tmp / f"{_ASIDE}{oid}"
    store.make_folder(store.tmp)
    try:
        os.replace(store.path(oid), aside)
        young = max(aside.stat().st_mtime, store.youth(oid)) >= before
    except FileNotFoundError:
        return False  # another prune has it
    if young:
        _back(store, aside)
        return False
    for path in (aside, store.used / oid):
        discard(Leftover(path, 0))
    return True


def restore_interrupted(store: Store) -> None:
    """Put back what a removal that was killed had taken out of sight, so that it is decided upon again."""
    for aside in store.tmp.glob(f"{_ASIDE}*"):
        _back(store, aside)


def _back(store: Store, aside: Path) -> None:
    path = store.path(Oid(aside.name.removeprefix(_ASIDE)))
    with contextlib.suppress(FileNotFoundError):
        if path.exists():  # stored anew meanwhile, and known to be whole
            os.unlink(aside)
        else:
            store.make_folder(path.parent)
            os.replace(aside, path)


def leftovers(store: Store, abandoned: float, before: float) -> Iterator[Leftover]:
    """What interrupted commands and fsck left: scratch files older than ``abandoned``, the rest than ``before``.

    The rest are damaged objects, downloads that git-lfs has not finished, and notes of use.
    """
    for name, limit in (("tmp", abandoned), ("corrupt", before), ("incomplete", before), ("used", before)):
        folder = store.root / name
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if status.st_mtime < limit:
                    yield Leftover(path, 0 if stat.S_ISDIR(status.st_mode) else status.st_size)


def discard(leftover: Leftover) -> None:
    """Delete one leftover."""
    if leftover.path.is_dir() and not leftover.path.is_symlink():
        shutil.rmtree(leftover.path, ignore_errors=True)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(leftover.path)
