"""Which Git command started us: process ids enter, the command's name leaves, or None for every doubt.

Git smudges both sides of a diff into temporary files before any driver runs, and the protocol does not say
what for. The command line of the nearest git process does.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_WITH_VALUE = {"-c", "-C", "--git-dir", "--work-tree", "--namespace", "--config-env", "--exec-path", "--attr-source"}
_SHELLS = {"sh", "dash", "bash", "zsh", "ksh"}


def calling_git_command() -> str | None:
    """The subcommand of the git process that runs us, perhaps through a shell; None when that cannot be told."""
    pid = os.getppid()
    for _ in range(3):
        found = _process(pid)
        if found is None:
            return None
        pid, argv = found
        program = Path(argv[0]).name.removesuffix(".exe") if argv else ""
        if program == "git":
            return _subcommand(argv[1:])
        if program.lstrip("-") not in _SHELLS:
            return None
    return None


def _subcommand(arguments: list[str]) -> str | None:
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def _process(pid: int) -> tuple[int, list[str]] | None:
    """A process's parent and command line: from /proc, or asked of ps where there is none."""
    try:
        # The name, in parentheses, may hold anything; the parent is the second field after it.
        parent = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        return parent, [word.decode("utf-8", "replace") for word in words]
    except (OSError, ValueError, IndexError):
        return _asked(pid)


def _asked(pid: int) -> tuple[int, list[str]] | None:
    try:
        answer = subprocess.run(
            ["ps", "-o", "ppid=,command=", "-p", str(pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        return int(answer[0]), answer[1:]
    except (OSError, ValueError, IndexError, subprocess.CalledProcessError):
        return None
