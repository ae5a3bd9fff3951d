"""What somebody chose for a conflict, so that nobody is asked twice: decisions and choices enter and come back.

A choice is remembered for the very same values of the same file (merging again after an abort), and for the same
group of the same file while one rebase or series of cherry-picks goes on, whose every commit would ask again. What
always holds: this is a memory for convenience; a database that cannot be used forgets, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from git_theta.merge.decide import Decision, Held

_SCHEMA = "create table if not exists chosen (path blob, key text, choice text, primary key (path, key)) without rowid"
_PATIENCE = 20
"""Seconds to wait for another process that is writing."""

Answer = TypeVar("Answer")


class Memory:
    """The resolutions of one repository, for one file. ``series`` names the rebase that goes on, if one does."""

    def __init__(self, database: Path, path: str, series: str | None) -> None:
        self._database, self._path, self.series = database, os.fsencode(path), series

    def recall(self, decision: Decision[Held], in_series: bool = False) -> str | None:
        """What was chosen for this decision, as text; ``in_series``: while this rebase goes on, and not before it."""

        def look(db: sqlite3.Connection) -> str | None:
            for key in self._keys(decision)[1 if in_series else 0 :]:
                row = db.execute("select choice from chosen where path = ? and key = ?", (self._path, key)).fetchone()
                if row:
                    return str(row[0])
            return None

        return _with(self._database, look, None, create=False)

    def note(self, chosen: list[tuple[Decision[Held], str]]) -> None:
        """Remember what was chosen."""
        rows = [(self._path, key, choice) for decision, choice in chosen for key in self._keys(decision)]
        statement = "insert or replace into chosen values (?, ?, ?)"
        _with(self._database, lambda db: db.executemany(statement, rows).rowcount, 0, create=bool(rows))

    def forget(self) -> int:
        """Forget everything about the file; returns how many choices that were."""
        return _delete(self._database, "delete from chosen where path = ?", self._path)

    def _keys(self, decision: Decision[Held]) -> list[str]:
        held = [decision.base, *decision.versions]
        values = [str(h and (h.digest, h.group.dtype, h.group.shape, h.group.view, h.ties)) for h in held]
        keys = [_digest(decision.name, *values)]
        return keys + ([_digest(self.series, decision.name)] if self.series else [])


def forget_everything(database: Path) -> int:
    """Forget everything about every file; returns how many choices that were."""
    return _delete(database, "delete from chosen")


def _delete(database: Path, statement: str, *arguments: bytes) -> int:
    return _with(database, lambda db: db.execute(statement, arguments).rowcount, 0, create=False)


def _with(database: Path, work: Callable[[sqlite3.Connection], Answer], otherwise: Answer, create: bool) -> Answer:
    """What ``work`` answers, in a transaction; ``otherwise`` where the database cannot be used."""
    if not (create or database.exists()):
        return otherwise
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(database, timeout=_PATIENCE)) as db, db:
            db.execute(_SCHEMA)
            return work(db)
    except (sqlite3.Error, OSError):
        return otherwise


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
