"""What is known of hooks without running them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from git_theta.gitio.hooks import Part, put_hooks, remove_hooks, runs_ours

PARTS = {"pre-push": Part("true\n")}


def put(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("#!/bin/sh\n", False),
        ("#!/bin/sh\n# git theta pre-push is for others\n", False),
        ('#!/bin/sh\ngit theta pre-push "$@"\n', True),
        ('#!/bin/sh\ntheta=$(git rev-parse --git-common-dir)/theta/hooks/pre-push; . "$theta"\n', True),
    ],
)
def test_a_hook_that_calls_us_is_known(tmp_path: Path, text: str, runs: bool) -> None:
    assert runs_ours(put(tmp_path / "pre-push", text)) is runs


def test_a_hook_that_git_does_not_run_is_none(tmp_path: Path) -> None:
    assert not runs_ours(tmp_path / "pre-push")
    assert not runs_ours(Path(os.devnull) / "pre-push")
    if os.name == "posix":
        assert not runs_ours(put(tmp_path / "pre-push", "git theta pre-push\n", mode=0o644))


def test_a_hook_that_calls_us_already_is_left_alone(tmp_path: Path) -> None:
    hook = put(tmp_path / "hooks" / "pre-push", '#!/bin/sh\ngit theta pre-push "$@"\n')
    report = put_hooks(hook.parent, PARTS, tmp_path / "shared")
    assert (report.written, report.refused) == ((), {})


def test_of_a_folder_that_is_not_there_that_is_said(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    refused = put_hooks(tmp_path / "gone", PARTS, tmp_path / ".git" / "theta" / "hooks").refused
    assert "which is not there" in str(refused["pre-push"])
    assert "everybody" not in str(refused["pre-push"])


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_of_two_foreign_hooks_the_newest_is_kept_and_comes_back(tmp_path: Path) -> None:
    folder, shared = tmp_path / "hooks", tmp_path / "shared"
    for word in ("first", "second"):
        (folder / "pre-push").unlink(missing_ok=True)
        hook = put(folder / "pre-push", f"#!/usr/bin/env python3\nprint('{word}')\n")
        assert put_hooks(folder, PARTS, shared).written == ("pre-push",)
    assert runs_ours(hook)
    assert "second" in (folder / "theirs" / "pre-push").read_text()
    assert remove_hooks(folder, PARTS, shared) == ("pre-push",)
    assert [path.name for path in folder.iterdir()] == ["pre-push"]
    assert "second" in hook.read_text()
