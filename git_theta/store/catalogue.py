"""What this machine has verified: which place holds which digest. A cache, safe to delete.

A row says: these slots decoded to this digest here (because they were encoded here, or decoded and checked
here), and the objects' files have not been touched since. Rows whose objects changed or went are not believed,
so a forged or damaged object can never stand in for bytes a user has. Whatever goes wrong with the file itself
(damaged, locked, read-only) only costs the reuse; a file that is no database is replaced, a busy one never.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from git_theta.model import Digest, Oid, Slot
from git_theta.store.disk import Store

_SCHEMA = """
create table if not exists object (oid text primary key, size integer, changed integer) without rowid;
create table if not exists value (digest text, place text, primary key (digest, place)) without rowid;
"""
_SIGNATURE = "select size, changed from object where oid = ?"
_PLACE = re.compile(r"[0-9a-f]{64}:[0-9]{1,18}(\+[0-9a-f]{64}:[0-9]{1,18})*")
PATIENCE = 20
"""Seconds to wait for another process that is writing; a commit takes milliseconds."""
_BATCH = 400  # below SQLite's oldest limit of 999 variables in one statement


class Catalogue:
    """Verified places by digest, for the objects of ``store``. Use from one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.root / "catalogue.sqlite"
        self._db: sqlite3.Connection | None = None
        self._off = False  # the file cannot be used: not asked again
        self._trusted: dict[Oid, bool] = {}

    def places(self, digest: Digest) -> list[tuple[Slot, ...]]:
        """Every trusted place whose value has ``digest``."""
        rows = self._rows("select place from value where digest = ?", (digest,))
        places = [parse_place(text) for (text,) in rows if _PLACE.fullmatch(str(text))]
        return [place for place in places if all(self._trust(slot.oid) for slot in place)]

    def verified(self, values: Iterable[tuple[Digest, tuple[Slot, ...]]]) -> set[tuple[Digest, tuple[Slot, ...]]]:
        """Those of ``values`` that are trusted to decode to their digest."""
        wanted = list(dict.fromkeys(values))
        found: set[tuple[Digest, tuple[Slot, ...]]] = set()
        for at in range(0, len(wanted), _BATCH):
            part = wanted[at : at + _BATCH]
            marks = ",".join("?" * len(part))
            rows = self._rows(
                f"select digest, place from value where digest in ({marks})",  # noqa: S608 (only question marks)
                [digest for digest, _ in part],
            )
            known = {(digest, place) for digest, place in rows}
            found.update(v for v in part if (v[0], render_place(v[1])) in known)
        return {v for v in found if all(self._trust(slot.oid) for slot in v[1])}

    def record(self, values: Iterable[tuple[Digest, tuple[Slot, ...]]]) -> None:
        """Remember that each place decodes to its digest."""
        values = list(values)
        present = self._present({slot.oid for _, place in values for slot in place})
        rows = [(d, render_place(place)) for d, place in values if all(slot.oid in present for slot in place)]
        self._remember(present, rows)

    def vouches_for(self, oid: Oid) -> bool:
        """Whether the object was verified here and its file has not been touched since."""
        return self._trust(oid)

    def vouch(self, oids: Iterable[Oid]) -> None:
        """Remember that the bytes of each object are those its name promises."""
        self._remember(self._present(set(oids)), [])

    def _remember(self, present: dict[Oid, tuple[int, int]], rows: list[tuple[Digest, str]]) -> None:
        """Note the objects that are ``present``, and what places in them decode to."""
        self._trusted.clear()
        db = self._open()
        if db is None:
            return
        try:
            with db:
                db.execute("begin immediate")  # another process may be recording the same objects
                new = {oid for oid in present if _recorded(db, oid) != present[oid]}
                self._forget(db, new)
                db.executemany("insert into object values (?, ?, ?)", [(oid, *present[oid]) for oid in new])
                db.executemany("insert or ignore into value values (?, ?)", rows)
        except sqlite3.OperationalError:
            pass  # locked, read-only or full: what is recorded already can still be read
        except sqlite3.Error as error:
            self._give_up(error)

    def distrust(self, oid: Oid) -> None:
        """Forget everything about one object: its bytes turned out wrong."""
        self.forget({oid})

    def forget(self, oids: Iterable[Oid]) -> None:
        """Forget everything about objects that are gone, or not to be believed."""
        gone = set(oids)
        self._trusted.update(dict.fromkeys(gone, False))
        db = self._open() if gone else None
        if db is not None:
            with contextlib.suppress(sqlite3.Error), db:
                self._forget(db, gone)

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @staticmethod
    def _forget(db: sqlite3.Connection, oids: set[Oid]) -> None:
        known = {oid for oid in oids if db.execute("delete from object where oid = ?", (oid,)).rowcount}
        if known:  # one pass over all values, however many objects went
            rows = db.execute("select digest, place from value").fetchall()
            stale = [row for row in rows if any(part[:64] in known for part in str(row[1]).split("+"))]
            db.executemany("delete from value where digest = ? and place = ?", stale)

    def _trust(self, oid: Oid) -> bool:
        """Whether the object's file is the one that was verified: same size, same change time."""
        if oid not in self._trusted:
            rows = self._rows(_SIGNATURE, (oid,))
            self._trusted[oid] = bool(rows) and rows[0] == self._signature(oid)
        return self._trusted[oid]

    def _present(self, oids: set[Oid]) -> dict[Oid, tuple[int, int]]:
        return {oid: signature for oid in oids if (signature := self._signature(oid))}

    def _signature(self, oid: Oid) -> tuple[int, int] | None:
        found = self._store.stat(oid)
        return (found.st_size, found.st_mtime_ns) if found else None

    def _rows(self, query: str, values: Sequence[str]) -> list[Any]:
        db = self._open()
        if db is None:
            return []
        try:
            return db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _open(self) -> sqlite3.Connection | None:
        while self._db is None and not self._off:
            try:
                self._store.make_folder(self._store.root)
                self._db = _connect(self._path)
            except OSError:
                self._off = True
            except sqlite3.Error as error:
                self._give_up(error)
        return self._db

    def _give_up(self, error: sqlite3.Error) -> None:
        """Go on without the file; one that is no database any more is removed, so that a new one can begin."""
        self.close()
        self._off = type(error) is not sqlite3.DatabaseError  # its subclasses say locked, read-only, full...
        if not self._off:
            try:
                os.unlink(self._path)
            except OSError:
                self._off = True


def _connect(path: Path) -> sqlite3.Connection:
    fresh = not path.exists()
    db = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
    # Rows hold ASCII; a flipped bit must make a row that nobody believes, not an error.
    db.text_factory = lambda raw: raw.decode("latin-1")
    try:
        # Losing the last rows in a power cut costs a re-encoding, so nothing waits for the disk.
        db.execute("pragma synchronous = off")
        db.executescript(_SCHEMA)
        if fresh:  # whoever may put objects here may learn from them
            path.chmod(path.parent.stat().st_mode & 0o666)
    except (sqlite3.Error, OSError):
        db.close()
        raise
    return db


def _recorded(db: sqlite3.Connection, oid: Oid) -> tuple[int, int] | None:
    row: tuple[int, int] | None = db.execute(_SIGNATURE, (oid,)).fetchone()
    return row


def render_place(place: tuple[Slot, ...]) -> str:
    """Slots as text, with full oids."""
    return "+".join(f"{slot.oid}:{slot.index}" for slot in place)


def parse_place(text: str) -> tuple[Slot, ...]:
    """Slots back from :func:`render_place`."""
    return tuple(Slot(Oid(part[:64]), int(part[65:])) for part in text.split("+"))
