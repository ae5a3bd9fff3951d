"""Unmerged checkpoints: the stages in the index enter, the command that ends each conflict leaves.

What always holds: the command named for a conflict is one that can end it. ``git theta resolve`` needs both sides;
where one of them has no file, Git's own ``add`` and ``rm`` decide.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.cli.text import typed
from git_theta.cli.tracked import absolute, filtered
from git_theta.cli.workspace import Workspace
from git_theta.gitio.stages import stages


@dataclass(frozen=True, slots=True)
class Conflict:
    """An unmerged path: from the worktree's root, from the current folder, and which sides have the file."""

    path: str
    here: str
    ours: bool
    theirs: bool

    @property
    def mergeable(self) -> bool:
        """Whether there are two sides to decide between group by group."""
        return self.ours and self.theirs

    @property
    def state(self) -> str:
        """What happened to the file."""
        if self.mergeable:
            return "both sides changed it"
        if not (self.ours or self.theirs):
            return "both sides deleted or renamed it"
        return f"only {'ours' if self.ours else 'theirs'} still has it"

    @property
    def way_out(self) -> str:
        """What to type."""
        name = typed(self.here)
        if self.mergeable:
            return f"git theta resolve {name}"
        keep = f"git add -- {name} keeps it, " if self.ours or self.theirs else ""
        return f"{keep}git rm -- {name} deletes it"


def conflicts(workspace: Workspace, pathspecs: Sequence[str] = ()) -> list[Conflict]:
    """Every unmerged tracked path; ``pathspecs`` are Git's, and none means the current folder."""
    if workspace.repository.worktree is None:
        return []
    listed = stages(*pathspecs)
    handled = filtered(workspace, list(listed))
    return [
        Conflict(path, Path(os.path.relpath(absolute(workspace, path))).as_posix(), "2" in found, "3" in found)
        for path, found in sorted(listed.items())
        if path in handled
    ]
