"""A worktree of our own below ``.git``, to try a merge in before anything here changes.

A commit enters, a folder leaves in which checkpoints are placeholders. What always holds: the folder is gone
afterwards; one that a killed process left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from git_theta.gitio.process import GitFailed, ask_git
from git_theta.gitio.repository import Repository

_PREFIX = "theta-merge-"
_WORKTREE = "worktree"
_OWNER = "owner"
"""The file that says who works there: host and process."""

_DAY = 86_400

_SETTINGS = {
    "theta.skipSmudge": "true",
    "theta.merge": "ours",
    "core.hooksPath": os.devnull,
    "advice.detachedHead": "false",
}


@contextlib.contextmanager
def scratch_worktree(repository: Repository, commit: str) -> Iterator[Path]:
    """A worktree at ``commit``, removed in the end."""
    _remove_abandoned(repository)
    parent = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=repository.common_dir))
    folder = parent / _WORKTREE
    try:
        (parent / _OWNER).write_text(f"{socket.gethostname()} {os.getpid()}\n")
        git_there(repository.root, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        yield folder
    finally:
        _remove(repository, [parent])


def git_there(folder: Path, *arguments: str) -> bytes:
    """Git in our own worktree: no checkpoint is written, ours stands wherever two differ, nobody is asked."""
    words = [word for key, value in _SETTINGS.items() for word in ("-c", f"{key}={value}")]
    kept = {name: os.environ.pop(name) for name in ("GIT_THETA_MERGE", "GIT_THETA_MANUAL_MERGE") if name in os.environ}
    try:
        return ask_git(*words, *arguments, cwd=folder, elsewhere=True)
    finally:
        os.environ.update(kept)


def _remove_abandoned(repository: Repository) -> None:
    """Remove what processes left that were killed, and what Git still has of worktrees that are gone."""
    folders = [folder for folder in repository.common_dir.glob(f"{_PREFIX}*") if _is_abandoned(folder)]
    listed = os.fsdecode(ask_git("worktree", "list", "--porcelain", cwd=repository.root)).splitlines()
    for line in listed:
        parent = Path(line.removeprefix("worktree ")).parent
        if line.startswith("worktree ") and parent.name.startswith(_PREFIX) and not parent.exists():
            folders.append(parent)
    if folders:
        _remove(repository, folders)


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody works there: its process of this host is gone; of another host nobody knows, so after a day."""
    try:
        host, process = (folder / _OWNER).read_text().split()
    except (OSError, ValueError):
        host, process = "", ""
    if host == socket.gethostname() and os.name == "posix":
        try:
            os.kill(int(process), 0)
        except (ProcessLookupError, ValueError):
            return True
        except PermissionError:
            return False
        return False
    try:
        return time.time() - folder.stat().st_mtime > _DAY
    except OSError:
        return False


def _remove(repository: Repository, folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(GitFailed):  # Git locks a worktree while it makes it, and then never prunes it
            ask_git("worktree", "unlock", str(folder / _WORKTREE), cwd=repository.root)
        shutil.rmtree(folder, ignore_errors=True)
    ask_git("worktree", "prune", cwd=repository.root)
