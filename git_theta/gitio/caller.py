"""Which Git command started us: process ids enter, the command's name leaves, or None for every doubt.

Git smudges both sides of a diff into temporary files before any driver runs, and the protocol does not say
what for. The command line of the nearest git process does.
"""

from __future__ import annotations

import os
import subprocess
from itertools import takewhile
from pathlib import Path

_WITH_VALUE = {"-c", "-C", "--git-dir", "--work-tree", "--namespace", "--config-env", "--exec-path", "--attr-source"}
_PUSH_VALUE = {"-o", "--push-option", "--receive-pack", "--exec", "--repo", "--recurse-submodules"}
_SHELLS = {"sh", "dash", "bash", "zsh", "ksh"}
_DEPTH = 8
"""Shells between git and us, and git itself: a hook that is called by another has several."""


def calling_git_command() -> str | None:
    """The subcommand of the git process that runs us, perhaps through a shell; None when that cannot be told."""
    found = _nearest_git()
    return _split(found[1])[0] if found else None


def calling_push_options() -> set[str]:
    """The options of the ``git push`` whose hook runs us, as they were written; empty when they cannot be told."""
    found = _nearest_git()
    name, words = _split(found[1]) if found else (None, [])
    options = [word for word in takewhile(lambda word: word != "--", words) if word.startswith("-")]
    if name != "push" or not _PUSH_VALUE.isdisjoint(options):
        return set()  # the next word, whatever it looks like, is a value
    # ps separates words by spaces, which a path may have, and then what looks like an option is none.
    return {word for word in options if word.startswith("--") or Path("/proc/self/cmdline").exists()}


def calling_git_process() -> str | None:
    """A name that only this one run of git has: its process id and when it started; None without /proc.

    A filter and a diff driver that have the same name here are started by the same command.
    """
    found = _nearest_git()
    try:
        return f"{found[0]}-{_fields(found[0])[19].decode()}" if found else None
    except (OSError, IndexError):
        return None


def _nearest_git() -> tuple[int, list[str]] | None:
    """The process id and the arguments of the git that runs us."""
    pid = os.getppid()
    for _ in range(_DEPTH):
        found = _process(pid)
        if found is None:
            return None
        parent, argv = found
        program = Path(argv[0]).name.removesuffix(".exe") if argv else ""
        if program == "git":
            return pid, argv[1:]
        if program.lstrip("-") not in _SHELLS:
            return None
        pid = parent
    return None


def _split(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Git's subcommand, and what follows it."""
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word, list(words)
    return None, []


def _process(pid: int) -> tuple[int, list[str]] | None:
    """A process's parent and command line: from /proc, or asked of ps where there is none."""
    try:
        parent = int(_fields(pid)[1])
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        return parent, [word.decode("utf-8", "replace") for word in words]
    except (OSError, ValueError, IndexError):
        return _asked(pid)


def _fields(pid: int) -> list[bytes]:
    """What /proc says of a process, from its state on: the name before it, in parentheses, may hold anything."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()


def _asked(pid: int) -> tuple[int, list[str]] | None:
    try:
        answer = subprocess.run(
            ["ps", "-o", "ppid=,command=", "-p", str(pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        return int(answer[0]), answer[1:]
    except (OSError, ValueError, IndexError, subprocess.CalledProcessError):
        return None
