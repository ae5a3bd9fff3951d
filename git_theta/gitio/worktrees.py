"""The worktrees of a repository: whether each is free of changes, and bringing one to where its branch went."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.gitio.process import ask_git
from git_theta.gitio.repository import Repository, find_repository

UNFINISHED = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or am",
    "BISECT_LOG": "a bisection",
}
"""What Git leaves in a worktree's Git folder while it waits for the user."""


@dataclass(frozen=True, slots=True)
class Worktree:
    """A folder with files checked out; ``branch`` is a full ref name, None when HEAD is detached."""

    path: Path
    branch: str | None
    ours: bool


def worktrees(repository: Repository) -> list[Worktree]:
    """Every worktree that is there; ``ours`` marks the one of ``repository``."""
    found = []
    for block in os.fsdecode(ask_git("worktree", "list", "--porcelain", cwd=repository.root)).split("\n\n"):
        fields = dict(line.partition(" ")[::2] for line in block.splitlines())
        path = Path(fields.get("worktree", ""))
        if fields and "bare" not in fields and path.is_dir():
            ours = repository.worktree is not None and path.samefile(repository.worktree)
            found.append(Worktree(path, fields.get("branch"), ours))
    return found


def unfinished(worktree: Worktree, new_files: Sequence[str] = ()) -> str | None:
    """What stands in the way of moving this worktree: changes, a merge, an untracked file named in ``new_files``."""
    where, elsewhere = worktree.path, not worktree.ours
    git_dir = find_repository(where, elsewhere=elsewhere).git_dir
    for name, what in UNFINISHED.items():
        if (git_dir / name).exists():
            return f"{what} is under way"
    changes = ask_git("status", "--porcelain", "-z", "--untracked-files=no", cwd=where, elsewhere=elsewhere)
    if changes:
        return f"{os.fsdecode(changes.split(bytes(1))[0][3:])} has uncommitted changes"
    for name in new_files:
        if (where / name).exists() and not ask_git("ls-files", "--", name, cwd=where, elsewhere=elsewhere):
            return f"{name} is not tracked"
    return None


def follow(worktree: Worktree, *options: str) -> None:
    """Bring index and files to the commit the branch names now. ``options`` are Git's, before the command."""
    ask_git(*options, "reset", "--quiet", "--hard", cwd=worktree.path, elsewhere=not worktree.ours)
