"""What one ``git diff`` learns when it first cleans a worktree file: kept for the second time, and for the diff driver.

``git diff`` sends a changed file through clean twice, then gives its driver only the file's name; the driver would read
it all a third time. ``git theta diff``, which has ``git diff`` say what differs, takes over what that one found. What
always holds: a sighting is believed only by what the very same command started, and only while the file has the status
it had before and after it was cleaned. Should bytes have changed under an unchanged status even so (a mapped file can
do that), the report shows what Git itself read in this command. Nothing that is stored ever depends on a sighting: only
``git diff`` has them, and an answer that says the file is as the index or HEAD has it, which Git may note in its index,
is always found anew.
"""

from __future__ import annotations

import contextlib
import json
import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from git_theta.cli.workspace import Workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.caller import calling_git_process
from git_theta.manifest import parse
from git_theta.model import Manifest

if TYPE_CHECKING:
    from git_theta.tensors.writer import Content

_EXPECTED = "GIT_THETA_SIGHTINGS"
"""In the environment: the name under which ``git theta diff`` expects them."""


class ChangedWhileDiffed(ThetaError):
    """The file is not the one that was cleaned a moment before."""

    exit_code = Exit.CHANGED


class Sighting:
    """The worktree file at ``path`` about to be cleaned."""

    def __init__(self, workspace: Workspace, path: str) -> None:
        self._workspace, self._path = workspace, path
        worktree = workspace.repository.worktree
        self._file = worktree / path if worktree and path and workspace.caller == "diff" else None
        self._before = _status(self._file) if self._file else None

    def again(self, content: Content) -> bytes | None:
        """What the file was cleaned to a moment ago, once ``content`` has passed; None where it is to be cleaned.

        Raises :class:`ChangedWhileDiffed` when the file did not hold still.
        """
        status, manifest = self._workspace.seen.get(self._path, (None, b""))
        if self._before is None or status != self._before or manifest in self._workspace.committed(self._path):
            return None
        block = memoryview(bytearray(1 << 20))
        length = 0
        while count := content.readinto(block):
            length += count
        if not self._unchanged() or length != self._before[_SIZE]:
            hint = "run the command again when nothing writes to it"
            raise ChangedWhileDiffed(f"{self._path} changed while it was being compared", hint=hint)
        return manifest

    def leave(self, manifest: bytes) -> None:
        """Note what the file was cleaned to, when it stayed as it was."""
        if self._file is None or self._before is None or not self._unchanged():
            return
        self._workspace.seen[self._path] = self._before, manifest
        place = _place(self._workspace, self._file)
        if place:
            with contextlib.suppress(OSError):  # then the driver reads the file itself
                place.parent.mkdir(parents=True, exist_ok=True)
                part = place.with_name(f"{place.name}.part")
                part.write_bytes(json.dumps(self._before).encode() + b"\n" + manifest)
                os.replace(part, place)

    def _unchanged(self) -> bool:
        return self._file is not None and _status(self._file) == self._before


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


def expect() -> None:
    """Have what the ``git diff`` that we run from now on sees left for us."""
    os.environ[_EXPECTED] = f"{os.getpid()}-{os.urandom(8).hex()}"


def expected() -> bool:
    """Whether somebody above the git that runs us waits for what we see."""
    return _EXPECTED in os.environ


def forget(workspace: Workspace) -> None:
    """Remove what was left and not recalled."""
    command = _command()
    for place in workspace.store.tmp.glob(f"sighting-{command}-*") if command else ():
        place.unlink(missing_ok=True)


def _place(workspace: Workspace, file: Path) -> Path | None:
    """Where the sighting of a file is left."""
    command, name = _command(), sha256(os.fsencode(os.path.realpath(file))).hexdigest()[:16]
    return workspace.store.tmp / f"sighting-{command}-{name}" if command else None


def _command() -> str | None:
    """A name that only this one command has, of which several processes are a part."""
    return os.environ.get(_EXPECTED) or calling_git_process()


_SIZE = 2


def _status(file: Path) -> list[int] | None:
    """What would differ if the file were another one or were written to."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
