"""What the index holds of paths in conflict: the versions of the two sides and of their base."""

from __future__ import annotations

import os
from pathlib import Path

from git_theta.gitio.process import ask_git

Stages = dict[str, dict[str, tuple[str, str]]]
"""Mode and blob by stage, ``1`` for the base, ``2`` ours, ``3`` theirs, by path from the worktree's root."""


def stages(*pathspecs: str, cwd: Path | None = None, literal: bool = False, resolved: bool = False) -> Stages:
    """The conflicts at ``pathspecs``, or below ``cwd`` without any.

    ``literal``: they are names, and no patterns. ``resolved``: those that were conflicts until they were added.
    """
    options = ["--literal-pathspecs"] if literal else []
    which = "--resolve-undo" if resolved else "--unmerged"
    answer = ask_git(*options, "ls-files", which, "-z", "--full-name", "--", *pathspecs, cwd=cwd)
    found: Stages = {}
    for line in os.fsdecode(answer).split("\0")[:-1]:
        fields, _, path = line.partition("\t")
        mode, blob, stage = fields.split(" ")
        found.setdefault(path, {})[stage] = mode, blob
    return found
