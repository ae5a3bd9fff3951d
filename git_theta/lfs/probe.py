"""Ask an LFS server which objects it has, by the batch API (git-lfs docs/api/batch.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.model import Oid, StoredObject


def probe(root: Path, remote: str, url: str | None, objects: Sequence[StoredObject]) -> Mapping[Oid, str]:
    """Which of ``objects`` the server behind ``remote`` would not send, and what it said of each."""
    raise ThetaError(f"{remote} cannot be asked yet")
