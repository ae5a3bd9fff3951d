"""Where a repository is: a folder enters, the places Git would use from there leave.

Git itself answers, in one call, so ``GIT_DIR``, ``GIT_WORK_TREE`` and ``GIT_COMMON_DIR`` count as they do for
Git, and bare repositories, linked worktrees and submodules need no cases here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from git_theta.errors import Exit, ThetaError
from git_theta.gitio.process import GitFailed, ask_git

# Asked in this order, the yes-or-no answers separate the paths, which may hold any byte but NUL.
_QUESTIONS = (
    "--path-format=absolute",
    "--git-dir",
    "--is-bare-repository",
    "--git-common-dir",
    "--is-bare-repository",
    "--git-path",
    "hooks",
    "--is-inside-work-tree",
    "--show-toplevel",
)
_ANSWERS = re.compile(rb"(.+?)\n(?:true|false)\n(.+?)\n(?:true|false)\n(.+?)\n(?:true|false)\n(?:(.+)\n)?", re.DOTALL)


class NotARepository(ThetaError):
    """There is no Git repository here, or Git refuses to work in it."""

    exit_code = Exit.NO_REPOSITORY


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as seen from one worktree; every path is absolute.

    ``worktree`` is None in a bare repository and inside a ``.git`` folder. ``git_dir`` belongs to this
    worktree, ``common_dir`` to all worktrees together. ``hooks`` is where Git looks for hooks,
    ``core.hooksPath`` included.
    """

    worktree: Path | None
    git_dir: Path
    common_dir: Path
    hooks: Path

    @property
    def root(self) -> Path:
        """Where to run Git: the top of the worktree, or the repository itself when there is none."""
        return self.worktree or self.git_dir


def find_repository(start: Path | None = None, *, elsewhere: bool = False) -> Repository:
    """The repository that ``start`` (default: the current folder) is in; raises :class:`NotARepository`.

    ``elsewhere`` when it is another repository than the one this process was started for.
    """
    try:
        # Without a worktree the last question fails with 128, after the others are answered.
        answers = ask_git("rev-parse", *_QUESTIONS, cwd=start, codes=(0, 128), elsewhere=elsewhere)
    except GitFailed as error:
        raise NotARepository(str(error), hint=error.hint) from None
    found = _ANSWERS.fullmatch(answers)
    if found is None:
        raise _refusal(start)
    git_dir, common_dir, hooks, top = found.groups()
    # Git names the worktree also to somebody outside it, as with --git-dir and --work-tree.
    worktree = Path(os.fsdecode(top)) if top else None
    return Repository(worktree, *(Path(os.fsdecode(path)) for path in (git_dir, common_dir, hooks)))


def _refusal(start: Path | None) -> NotARepository:
    """Why Git finds no repository, in Git's words: none here, or one of somebody else's."""
    try:
        ask_git("rev-parse", "--git-dir", cwd=start)
    except GitFailed as error:
        reason, advice = str(error).removeprefix("git rev-parse: "), error.hint
    else:
        reason, advice = "git gave no usable answer", "git-theta needs Git 2.31 or newer"
    return NotARepository(
        f"{start or Path.cwd()}: {reason}",
        hint=advice or "change into a repository, or make one with: git init",
    )
