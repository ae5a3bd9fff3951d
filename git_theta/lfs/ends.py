"""The other end of a transfer, as everything above sees it, and the end that is a store on a path of this machine.

What always holds: after ``send`` returns, the other end has every object, whole; ``receive`` puts only whole
objects into the local store and says which ones it could not get and why.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from git_theta.errors import ThetaError
from git_theta.model import Oid, StoredObject
from git_theta.store import Store

_BLOCK = 1 << 20


class TransferFailed(ThetaError):
    """Objects could not be sent: nothing may be pushed that names them."""


class End(Protocol):
    """A place that has objects, or takes them."""

    @property
    def name(self) -> str:
        """What people call it."""

    def send(self, store: Store, objects: Sequence[StoredObject]) -> None:
        """Bring ``objects`` there from ``store``; raises :class:`TransferFailed` unless all arrived."""

    def receive(self, store: Store, objects: Sequence[StoredObject]) -> Mapping[Oid, str]:
        """Bring ``objects`` from there into ``store``; returns the reason for each that did not come."""

    def lacks(self, objects: Sequence[StoredObject]) -> Mapping[Oid, str]:
        """Which of ``objects`` are not there, and what was found instead."""


class LocalEnd:
    """A store on a path: the one of a remote that is a folder, or of a repository whose objects Git borrows."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self._store = store

    def send(self, store: Store, objects: Sequence[StoredObject]) -> None:
        """Copy after checking: what a remote keeps must be whole."""
        for wanted in objects:
            if self._store.has(wanted.oid, wanted.size):
                continue
            if _sha256(store.path(wanted.oid)) != wanted.oid:
                raise TransferFailed(f"object {wanted.oid} is damaged here", hint="git theta fsck")
            _place(store.path(wanted.oid), self._store, wanted.oid)

    def receive(self, store: Store, objects: Sequence[StoredObject]) -> Mapping[Oid, str]:
        """Link or copy. A linked object is the very file; values are checked when they are decoded."""
        missing = {}
        for wanted in objects:
            if not self._store.has(wanted.oid, wanted.size):
                missing[wanted.oid] = f"{self.name} does not have it"
                continue
            try:
                _place(self._store.path(wanted.oid), store, wanted.oid)
            except (OSError, ThetaError) as error:
                missing[wanted.oid] = f"{self.name}: {error}"
        return missing

    def lacks(self, objects: Sequence[StoredObject]) -> Mapping[Oid, str]:
        """By size, which is what a crash or a full disk gets wrong; ``fsck`` over there reads every byte."""
        return {o.oid: "not there" for o in objects if not self._store.has(o.oid, o.size)}


def _place(source: Path, store: Store, oid: Oid) -> None:
    """A hard link where the file system can, a checked copy otherwise."""
    target = store.path(oid)
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        link = target.with_name(f".{oid[:16]}.{os.getpid()}")
        os.link(source, link)
        os.replace(link, target)
        # Renaming one name of a file onto another name of the same file does nothing and leaves both.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
        return
    draft = store.draft()
    try:
        with open(source, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                draft.write([block])
        if draft.digest != oid:
            raise TransferFailed(f"object {oid} at {source} is damaged", hint="git theta fsck, in that repository")
        draft.put()
    finally:
        draft.discard()


def _sha256(path: Path) -> str:
    digest = sha256()
    with contextlib.suppress(FileNotFoundError), open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
