"""What is read from the command line of the git that runs us; everything doubtful counts as nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from git_theta.gitio import caller

HOOK = ["/bin/sh", ".git/hooks/pre-push", "origin", "url"]


def run_by(monkeypatch: pytest.MonkeyPatch, *commands: list[str]) -> None:
    """Let ``commands`` be our ancestors, the nearest first."""
    processes = {pid: (pid + 1, command) for pid, command in enumerate(commands, start=100)}
    monkeypatch.setattr(os, "getppid", lambda: 100)
    monkeypatch.setattr(caller, "_process", processes.get)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["git", "push", "--dry-run", "origin"], {"--dry-run"}),
        (["/usr/bin/git", "-C", "push", "push", "origin", "main", "--mirror", "-q"], {"--mirror", "-q"}),
        (["git", "push", "-o", "--dry-run", "origin"], set()),
        (["git", "push", "--receive-pack", "-n", "origin"], set()),
        (["git", "push", "origin", "--", "--dry-run"], set()),
        (["git", "fetch", "--dry-run"], set()),
        (["git", "theta", "push", "--dry-run"], set()),
        (["python", "push", "--dry-run"], set()),
    ],
)
def test_options_are_those_of_the_push_and_no_values(
    monkeypatch: pytest.MonkeyPatch, command: list[str], options: set[str]
) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: True)
    run_by(monkeypatch, HOOK, command)
    assert caller.calling_push_options() == options


def test_words_that_ps_may_have_torn_apart_count_only_when_they_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    run_by(monkeypatch, HOOK, ["git", "push", "--dry-run", "My", "-n", "folder"])
    assert caller.calling_push_options() == {"--dry-run"}


def test_a_hook_that_is_called_by_another_finds_its_git(monkeypatch: pytest.MonkeyPatch) -> None:
    run_by(monkeypatch, *[HOOK] * 6, ["git", "push", "--mirror"])
    assert caller.calling_push_options() == {"--mirror"}


def test_a_hook_in_another_language_hides_its_git(monkeypatch: pytest.MonkeyPatch) -> None:
    run_by(monkeypatch, HOOK, ["python3", "pre-push"], ["git", "push", "--mirror"])
    assert caller.calling_push_options() == set()
