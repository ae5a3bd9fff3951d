"""The root of every error a user can meet, and the exit codes they share.

What enters: the place where something went wrong, what was expected against what was found, and what to
type next. What leaves: one line for people and an exit code for programs. Concrete errors live beside the
code that raises them; each names its exit code from :class:`Exit`, so the table in ``docs/cli.md`` stays
complete.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command. They are stable: scripts rely on them."""

    OK = 0
    FAILED = 1  # the command ran and could not do what was asked
    USAGE = 2  # the command line itself was wrong
    NO_REPOSITORY = 3  # needs a Git repository and there is none, or Git refused
    DAMAGED = 4  # bytes that should be ours are not: manifest or object corrupt
    MISSING = 5  # an object is not on this machine
    CHANGED = 6  # a file changed while it was being read
    INTERRUPTED = 130  # Ctrl-C


class ThetaError(Exception):
    """Something a user can understand and act on.

    ``str(error)`` is one line saying where and what, expected against found; ``hint`` is what to type next.
    """

    exit_code: Exit = Exit.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
