"""Ends a git-theta process at its n-th step on disk; with this folder on PYTHONPATH, Python imports it at start.

A step is a call that changes what other processes see (open for writing, rename, remove, mkdir) or opens the
catalogue. Python announces each before it happens, so every step of an add or a checkout can be the one before
which the process dies: nothing is left to chance.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

STEPS = {"os.link", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.utime", "sqlite3.connect"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Countdown:
    """Counts steps and sends the signal when the last one is about to be taken."""

    def __init__(self, left: int, number: signal.Signals) -> None:
        self._left, self._signal = left, number

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        opens = event == "open" and arguments[2] & WRITING and str(arguments[0]).startswith(os.sep)
        if (event in STEPS or opens) and arguments[0] != os.devnull:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)


COMMANDS = os.environ.get("THETA_TEST_COMMAND", "filter-process checkout").split()
"""The git-theta commands that end."""

if os.environ.get("THETA_TEST_STEP") and any(word in sys.argv[1:2] for word in COMMANDS):
    sys.addaudithook(
        Countdown(int(os.environ["THETA_TEST_STEP"]), signal.Signals[os.environ.get("THETA_TEST_SIGNAL", "SIGKILL")])
    )
