"""One question to Git by one process: arguments and bytes enter, the bytes Git answered leave.

Arguments are always a list and never see a shell. What always holds: an exit code nobody said they expect is
an error that carries what Git wrote to stderr, in Git's words.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection
from itertools import takewhile
from pathlib import Path
from typing import IO

from git_theta.errors import Exit, ThetaError

_LOCAL = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
}
_LOCAL_CONFIG = ("GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")


_UNKNOWN = re.compile(
    r"fatal: (?:bad revision |ambiguous argument |Not a tree object: |Not a valid object name )"
    r"'?(.+?)'?(?:: unknown revision.*)?\Z"
)
"""How Git's rev-list, diff and ls-tree say that a revision does not exist."""


class GitFailed(ThetaError):
    """Git ran and refused."""

    exit_code = Exit.NO_REPOSITORY


class NoRevision(GitFailed):
    """Git knows no commit of that name."""

    exit_code = Exit.FAILED

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no revision {name}", hint="git log --oneline --all shows revisions")


class NoWorktree(ThetaError):
    """A bare repository, or the inside of a ``.git`` folder, and the question is about files."""

    exit_code = Exit.NO_REPOSITORY

    def __init__(self, place: Path) -> None:
        super().__init__(f"{place} has no worktree here", hint="run this where the files are checked out")


class GitNotFound(ThetaError):
    """There is no git to run."""

    exit_code = Exit.NO_REPOSITORY


def ask_git(
    *arguments: str | Path,
    cwd: Path | None = None,
    stdin: bytes | IO[bytes] = b"",
    codes: Collection[int] = (0,),
    elsewhere: bool = False,
    index: Path | None = None,
) -> bytes:
    """Run ``git ARGUMENTS`` in ``cwd`` with ``stdin``, bytes or an open file, and return its stdout.

    ``elsewhere`` says that ``cwd`` is another repository than ours: what Git's environment says of ours, in
    filters and hooks, is not for it. ``index`` is a file to use in place of the repository's index.

    Raises :class:`GitFailed` unless it exits with one of ``codes``, :class:`NoWorktree` where Git misses one,
    :class:`GitNotFound` without a git.
    """
    command = ["git", *map(str, arguments)]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            input=stdin if isinstance(stdin, bytes) else None,
            stdin=None if isinstance(stdin, bytes) else stdin,
            capture_output=True,
            check=False,
            env=git_environment(elsewhere, index),
        )
    except FileNotFoundError:
        if cwd is not None and not cwd.is_dir():
            raise
        raise GitNotFound("git is not on PATH", hint="install Git 2.31 or newer: https://git-scm.com") from None
    if done.returncode not in codes:
        if b"must be run in a work tree" in done.stderr:
            raise NoWorktree(cwd or Path.cwd())
        raise _failure(command, done.returncode, done.stderr.decode("utf-8", "replace"))
    return done.stdout


def _failure(command: list[str], code: int, stderr: str) -> GitFailed:
    """Git's first line as the message, the others as the hint."""
    first, *rest = stderr.strip().splitlines() or [f"exited with code {code}"]
    unknown = _UNKNOWN.match(first)
    if unknown:
        return NoRevision(unknown[1].removesuffix("^{tree}"))
    verb = next((word for word in command[1:] if not word.startswith("-") and "=" not in word), "")
    reason = first.removeprefix("fatal: ").removeprefix("error: ")
    told = takewhile(lambda line: "usage: " not in (line[:7], first[:7]), rest)  # thirty lines of it help nobody
    advice = "\n".join(line.removeprefix("hint: ") for line in told if line)
    return GitFailed(f"git {verb}: {reason}", hint=advice or None)


def git_environment(elsewhere: bool, index: Path | None = None) -> dict[str, str]:
    """Ours; ``elsewhere`` without what belongs to one repository (``git rev-parse --local-env-vars``)."""
    chosen = {"GIT_INDEX_FILE": str(index)} if index else {}
    if not elsewhere:
        return {**os.environ, **chosen}
    kept = {
        name: value for name, value in os.environ.items() if name not in _LOCAL and not name.startswith(_LOCAL_CONFIG)
    }
    return {**kept, **chosen}
