"""Which files Git knows: a folder and ``git ls-files`` options enter, paths leave. And the mask for new ones."""

from __future__ import annotations

import os
from pathlib import Path

from git_theta.gitio.process import ask_git


def umask() -> int:
    """The process's file mode mask. Reading it means setting it, for a moment."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


UNIGNORED = ("--cached", "--others", "--exclude-standard")
"""What is in the index, and what ``git add`` would take."""


def list_files(folder: Path, *options: str) -> list[str]:
    """Paths relative to ``folder``, below it, each once, in Git's order."""
    answer = ask_git("ls-files", "-z", *options, cwd=folder)
    return list(dict.fromkeys(os.fsdecode(answer).split("\0")[:-1]))


def attribute_files(root: Path) -> list[str]:
    """The ``.gitattributes`` files in the worktree at ``root``, the shallow before the deep."""
    pattern = ":(glob)**/.gitattributes"
    found = [path for path in list_files(root, "--cached", "--others", "--", pattern) if (root / path).is_file()]
    return sorted(found, key=lambda path: (path.count("/"), path))
