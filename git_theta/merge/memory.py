"""What somebody chose for a conflict, so that nobody is asked twice: decisions and choices enter and come back.

A choice is remembered for the very same values (merging again after an abort), and for the same group of the same
file while one rebase or series of cherry-picks goes on, whose every commit would ask again. What always holds: this
is a memory for convenience; a database that cannot be used forgets, and nothing else.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from git_theta.merge.decide import Decision, Held

_SCHEMA = "create table if not exists resolution (key text primary key, choice text) without rowid"
_PATIENCE = 20
"""Seconds to wait for another process that is writing."""


class Memory:
    """The resolutions of one repository, for one file. ``series`` names the rebase that goes on, if one does."""

    def __init__(self, database: Path, path: str, series: str | None) -> None:
        self._database, self._path, self._series = database, path, series

    def recall(self, decision: Decision[Held]) -> str | None:
        """What was chosen for this decision, as text."""
        if not self._database.exists():
            return None
        for db in self._open():
            for key in self._keys(decision):
                row = db.execute("select choice from resolution where key = ?", (key,)).fetchone()
                if row:
                    return str(row[0])
        return None

    def note(self, chosen: list[tuple[Decision[Held], str]]) -> None:
        """Remember what was chosen."""
        rows = [(key, choice) for decision, choice in chosen for key in self._keys(decision)]
        for db in self._open():
            with db:
                db.executemany("insert or replace into resolution values (?, ?)", rows)

    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database, once; nothing where it cannot be used."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self._database.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._database, timeout=_PATIENCE)) as db:
                db.execute(_SCHEMA)
                yield db

    def _keys(self, decision: Decision[Held]) -> list[str]:
        held = [decision.base, *decision.versions]
        values = [str(h and (h.digest, h.group.dtype, h.group.shape, h.group.view, h.ties)) for h in held]
        keys = [_digest(decision.name, *values)]
        return keys + ([_digest(self._series, self._path, decision.name)] if self._series else [])


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
