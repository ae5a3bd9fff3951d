"""The progress line: on a terminal for long work, and nothing anywhere else."""

from __future__ import annotations

import io
import sys

import pytest

from git_theta.cli import progress as progress_module
from git_theta.cli.progress import Progress


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def shown(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", stderr)
    with Progress("checkout", total=4_000_000) as progress:
        for _ in range(4):
            progress.advance(1_000_000)
    return stderr.getvalue()


def test_long_work_on_a_terminal_shows_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_PATIENCE", -1.0)
    line = shown(monkeypatch, Terminal())
    assert "checkout" in line
    assert "/4.0 MB" in line


def test_short_work_on_a_terminal_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_PATIENCE", 3600.0)
    assert shown(monkeypatch, Terminal()) == ""


def test_nothing_is_shown_where_stderr_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_PATIENCE", -1.0)
    assert shown(monkeypatch, io.StringIO()) == ""


def test_the_line_is_gone_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_PATIENCE", -1.0)
    terminal = Terminal()
    shown(monkeypatch, terminal)
    assert terminal.getvalue().endswith("\x1b[2K")
