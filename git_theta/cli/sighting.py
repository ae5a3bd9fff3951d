"""What one ``git diff`` learns when it cleans a worktree file, left for the diff driver that it runs afterwards.

``git diff`` sends a changed file through clean twice, then gives its driver only the file's name; the driver would read
it all a third time. What always holds: a sighting is believed only by what the very same git process started, and only
while the file has the status it had before and after it was cleaned. Should bytes have changed under an unchanged
status even so (a mapped file can do that), the report shows what Git itself read in this command. Nothing that is
stored, and nothing that clean answers, ever depends on a sighting.
"""

from __future__ import annotations

import contextlib
import json
import os
from hashlib import sha256
from pathlib import Path

from git_theta.cli.workspace import Workspace
from git_theta.errors import ThetaError
from git_theta.gitio.caller import calling_git_process
from git_theta.manifest import parse
from git_theta.model import Manifest


class Sighting:
    """The worktree file at ``path`` about to be cleaned."""

    def __init__(self, workspace: Workspace, path: str) -> None:
        self._workspace = workspace
        worktree = workspace.repository.worktree
        self._file = worktree / path if worktree and path and workspace.caller == "diff" else None
        self._before = _status(self._file) if self._file else None

    def leave(self, manifest: bytes) -> None:
        """Note what the file was cleaned to, when it stayed as it was."""
        if self._file is None or self._before is None or _status(self._file) != self._before:
            return
        place = _place(self._workspace, self._file)
        if place:
            with contextlib.suppress(OSError):  # then the driver reads the file itself
                place.parent.mkdir(parents=True, exist_ok=True)
                part = place.with_name(f"{place.name}.part")
                part.write_bytes(json.dumps(self._before).encode() + b"\n" + manifest)
                os.replace(part, place)


def recall(workspace: Workspace, file: Path) -> Manifest | None:
    """What ``file`` was cleaned to in this git command, taken away with it; None where that is not known."""
    place = _place(workspace, file.absolute())
    if place is None:
        return None
    try:
        status, _, manifest = place.read_bytes().partition(b"\n")
        place.unlink()
        return parse(manifest) if json.loads(status) == _status(file) else None
    except (OSError, ValueError, ThetaError):
        return None


def _place(workspace: Workspace, file: Path) -> Path | None:
    """Where the sighting of a file is left."""
    process = calling_git_process()
    if process is None:
        return None
    return workspace.store.tmp / f"sighting-{process}-{sha256(os.fsencode(os.path.realpath(file))).hexdigest()[:16]}"


def _status(file: Path) -> list[int] | None:
    """What would differ if the file were another one or were written to."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
