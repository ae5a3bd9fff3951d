"""The other end of a transfer, as everything above sees it, and the end that is a store on a path of this machine.

What always holds: after ``send`` returns, the other end has every object, whole; ``receive`` puts only whole
objects into the local store and says which ones it could not get and why.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from git_theta.errors import ThetaError
from git_theta.model import Oid, StoredObject
from git_theta.store import Store

_BLOCK = 1 << 20


class TransferFailed(ThetaError):
    """Objects could not be sent, so nothing may be pushed that names them; or nobody was there to ask for them."""


class End(Protocol):
    """A place that has objects, or takes them."""

    @property
    def name(self) -> str:
        """What people call it."""

    def send(self, store: Store, objects: Sequence[StoredObject], *, thorough: bool = False) -> None:
        """Bring ``objects`` there from ``store``; raises :class:`TransferFailed` unless all arrived.

        ``thorough`` also replaces what is there and damaged, where that can be seen.
        """

    def receive(self, store: Store, objects: Sequence[StoredObject]) -> Mapping[Oid, str]:
        """Bring ``objects`` from there into ``store``; returns the reason for each that did not come.

        Raises :class:`TransferFailed` when the other end could not be spoken to at all.
        """

    def lacks(self, objects: Sequence[StoredObject], *, thorough: bool = False) -> Mapping[Oid, str]:
        """Which of ``objects`` are not there, and what was found instead.

        ``thorough`` looks at the objects themselves where a quick answer could be untrue.
        """


class LocalEnd:
    """A store on a path: the one of a remote that is a folder, or of a repository whose objects Git borrows."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self._store = store

    def send(self, store: Store, objects: Sequence[StoredObject], *, thorough: bool = False) -> None:
        """Link or copy what is not there, after checking; ``thorough`` reads every byte of what is."""
        # Their use is noted before they are there, because a link brings the age of its source along.
        used = {o.oid: self._store.use(o.oid) for o in objects}
        lacking = self.lacks(objects, thorough=thorough)
        absent = [o for o in objects if o.oid in lacking or not used[o.oid]]
        check_whole(store, absent)
        try:
            for wanted in absent:
                _place(store.path(wanted.oid), self._store, wanted.oid)
            for wanted in absent:  # before a ref there names it; Git does so with the pack it receives
                self._store.harden(wanted.oid)
        except OSError as error:
            raise TransferFailed(
                f"{self.name}: {error.filename or self._store.root}: {error.strerror or error}",
                hint="nothing was pushed; mend that, then repeat the push",
            ) from None

    def receive(self, store: Store, objects: Sequence[StoredObject]) -> Mapping[Oid, str]:
        """Link or copy. A linked object is the very file; values are checked when they are decoded.

        So one that was damaged here is looked at first: the file over there may be the same.
        """
        missing = {}
        for wanted in objects:
            if not self._store.has(wanted.oid, wanted.size):
                missing[wanted.oid] = f"{self.name} does not have it"
                continue
            if store.was_damaged(wanted.oid) and not self._store.is_whole(wanted.oid):
                missing[wanted.oid] = f"it is damaged on {self.name} as well"
                continue
            try:
                store.use(wanted.oid)
                _place(self._store.path(wanted.oid), store, wanted.oid)
            except (OSError, ThetaError) as error:
                missing[wanted.oid] = f"{self.name}: {error}"
        return missing

    def lacks(self, objects: Sequence[StoredObject], *, thorough: bool = False) -> Mapping[Oid, str]:
        """By size, which is what a crash or a full disk gets wrong; ``thorough`` reads every byte."""
        lacking = {o.oid: "not there" for o in objects if not self._store.has(o.oid, o.size)}
        if thorough:
            present = [o for o in objects if o.oid not in lacking]
            lacking.update((o.oid, "damaged there") for o in _damaged(self._store, present))
        return lacking


def check_whole(store: Store, objects: Sequence[StoredObject]) -> None:
    """Raise :class:`TransferFailed` unless every one of ``objects`` is whole: what a remote keeps must be.

    Not every server looks at what it is sent, and one that took a damaged object would never take the good one.
    """
    for stored in _damaged(store, objects):
        raise TransferFailed(
            f"object {stored.oid} is damaged here, so nothing was sent",
            hint="git theta fsck moves it away; then git theta fetch, or git add --renormalize PATH, brings it anew",
        )


def _damaged(store: Store, objects: Sequence[StoredObject]) -> list[StoredObject]:
    """Those of ``objects`` whose bytes are not what their names promise."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        found = threads.map(lambda o: store.is_whole(o.oid), objects)
        return [stored for stored, whole in zip(objects, found, strict=True) if not whole]


def _place(source: Path, store: Store, oid: Oid) -> None:
    """A hard link where the file system can, a checked copy otherwise."""
    target = store.path(oid)
    store.make_folder(store.tmp)
    store.make_folder(target.parent)
    link = store.tmp / f"link-{oid[:16]}-{os.getpid()}"
    try:
        os.link(source, link)
        os.replace(link, target)
    except OSError:
        _copy(source, store, oid)
    finally:
        # Renaming one name of a file onto another name of the same file does nothing and leaves both.
        link.unlink(missing_ok=True)


def _copy(source: Path, store: Store, oid: Oid) -> None:
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
