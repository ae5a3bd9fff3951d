"""Long answers at a terminal go through Git's pager: a command's name enters, what it prints goes there.

The rules are Git's: ``GIT_PAGER`` (which ``git --no-pager`` sets), ``pager.<command>``, ``core.pager``, ``PAGER``; Git
itself looks after ``pager.theta`` and ``git -p``. What always holds: without a terminal nothing changes, and a command
ends only when its pager has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import IO

from git_theta.gitio.process import GitFailed, GitNotFound, ask_git

IN_USE = "GIT_PAGER_IN_USE"
"""In the environment: standard output is a pipe that ends at a terminal."""
_DEFAULTS = {"LESS": "FRX", "LV": "-c"}
"""As Git has them: less ends by itself when everything fits, keeps colours, and leaves the screen as it is."""


@contextmanager
def paged(name: str) -> Iterator[None]:
    """What is printed in the block goes through the pager that Git would use for ``git NAME``.

    Raises BrokenPipeError when the reader has left before the end.
    """
    command = _command(name) if sys.stdout.isatty() else None
    if command is None:
        yield
        return
    os.environ.update({IN_USE: "true", "COLUMNS": str(shutil.get_terminal_size((80, 24)).columns)})
    pager = subprocess.Popen(
        ["sh", "-c", command],
        stdin=subprocess.PIPE,
        env={**_DEFAULTS, **os.environ},
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
    )
    try:
        if pager.stdin:
            with pager.stdin, redirect_stdout(pager.stdin), _complaints(pager.stdin):
                yield
    finally:
        _wait(pager)


def _complaints(pager: IO[str]) -> redirect_stderr[IO[str]]:
    """Warnings are read where the answer is, if both go to the terminal."""
    return redirect_stderr(pager if sys.stderr.isatty() else sys.stderr)


def _wait(pager: subprocess.Popen[str]) -> None:
    """Until the reader has left; Ctrl-C is for the pager, which does not end by it."""
    while pager.returncode is None:
        with suppress(KeyboardInterrupt):
            pager.wait()


def _command(name: str) -> str | None:
    """The pager's command line; None for none."""
    try:
        chosen = ask_git("config", "--type=bool-or-str", "--get", f"pager.{name}", codes=(0, 1)).decode().strip()
        if chosen == "false":
            return None
        asked = "GIT_PAGER" not in os.environ and chosen not in ("", "true")
        command = chosen if asked else ask_git("var", "GIT_PAGER").decode().strip()
    except (GitFailed, GitNotFound):
        return None
    return command if command not in ("", "cat") else None
