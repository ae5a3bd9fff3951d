"""One progress line for long work: on a terminal after half a second, and nothing anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_PATIENCE = 0.5
"""Seconds of work before the line appears; shorter work would only flicker."""


class Progress:
    """Counts bytes that pass. Rich, which draws the line, is imported only when it appears."""

    def __init__(self, label: str = "git-theta", total: int | None = None) -> None:
        self._label, self._total = label, total
        self._shown: tuple[RichProgress, TaskID] | None = None
        self._started: float | None = None
        self._done = 0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()
        self._terminal = False  # whoever goes on with the work must not draw again

    def rest(self) -> None:
        """Nothing is being done: the line goes, and the terminal is somebody else's until it takes long again."""
        if self._shown:
            self._shown[0].stop()
        self._shown = self._started = None

    def advance(self, count: int) -> None:
        """``count`` more bytes have passed."""
        if not self._terminal:
            return
        now = time.monotonic()
        self._started = self._started or now
        self._done += count
        if self._shown is None and now - self._started > _PATIENCE:
            self._shown = self._draw()
        if self._shown:
            self._shown[0].update(self._shown[1], completed=self._done)

    def _draw(self) -> tuple[RichProgress, TaskID]:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, FileSizeColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as RichProgress

        amount = DownloadColumn() if self._total else FileSizeColumn()
        columns = [TextColumn("{task.description}"), BarColumn(), amount, TransferSpeedColumn()]
        shown = RichProgress(*columns, console=Console(stderr=True), transient=True)
        shown.start()
        return shown, shown.add_task(self._label, total=self._total)
