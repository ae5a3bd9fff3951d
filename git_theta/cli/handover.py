"""Git commands that ``--ext-diff`` makes speak of parameters: their arguments enter, Git goes on in our place."""

from __future__ import annotations

import os
import subprocess
import sys

from git_theta.gitio.process import GitNotFound


def hand_over(*arguments: str) -> int:
    """Become ``git ARGUMENTS``, so that its pager, its signals and its exit code are as ever."""
    sys.stdout.flush()
    try:
        if os.name == "posix":
            os.execvp("git", ["git", *arguments])  # noqa: S606 (a shell would read the arguments once more)
        return subprocess.run(["git", *arguments], check=False).returncode
    except FileNotFoundError:
        raise GitNotFound("git is not on PATH", hint="install Git 2.31 or newer: https://git-scm.com") from None
