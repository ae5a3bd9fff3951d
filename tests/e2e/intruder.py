"""Stands between Git and the filter process and runs a shell command after so many bytes.

    python intruder.py in:N|out:N ACTION PROGRAM [ARGUMENT...]

Bytes pass unchanged in both directions. When N bytes have passed from Git to PROGRAM (``in``) or back (``out``)
the relay stops, ACTION runs to its end, and the relay goes on, if anybody is left. So a test can kill, interrupt or
overwrite at an exact place in the conversation without waiting for a moment to come.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import BinaryIO


class Trigger:
    """Runs the action once, when its direction has seen enough bytes."""

    def __init__(self, after: str, action: str, program: subprocess.Popen[bytes]) -> None:
        self.direction, _, count = after.partition(":")
        self._left: int | None = int(count)
        self._action = action
        self._environment = {**os.environ, "FILTER": str(program.pid), "GIT": str(os.getppid())}

    def room(self, wanted: int) -> int:
        """How many bytes may pass before the action is due."""
        return wanted if self._left is None else min(wanted, max(self._left, 1))

    def passed(self, count: int) -> None:
        """``count`` more bytes have been delivered."""
        if self._left is None:
            return
        self._left -= count
        if self._left <= 0:
            self._left = None
            subprocess.run(["sh", "-c", self._action], env=self._environment, stdin=subprocess.DEVNULL, check=False)


def relay(source: int, target: BinaryIO, trigger: Trigger | None) -> None:
    """Pass bytes on until either side closes."""
    try:
        while data := os.read(source, trigger.room(1 << 16) if trigger else 1 << 16):
            target.write(data)
            target.flush()
            if trigger:
                trigger.passed(len(data))
        target.close()
    except OSError:
        pass  # one of the two is gone, which is what the tests are about


def main() -> int:
    after, action, *command = sys.argv[1:]
    # A handler, unlike SIG_IGN, is not inherited: the filter itself meets the signal as it would without us.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if program.stdin is None or program.stdout is None:
        raise AssertionError("pipes were asked for")
    trigger = Trigger(after, action, program)
    requests = threading.Thread(
        target=relay, args=(0, program.stdin, trigger if trigger.direction == "in" else None), daemon=True
    )
    requests.start()
    with open(1, "wb", buffering=0) as answers:
        relay(program.stdout.fileno(), answers, trigger if trigger.direction == "out" else None)
    code = program.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
