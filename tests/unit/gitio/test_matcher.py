"""Patterns over paths of any commit: what a .gitattributes file at the top would match, whatever the worktree holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from git_theta.gitio.matcher import Matcher


@pytest.mark.parametrize("bare", [False, True])
def test_git_says_which_patterns_match(tmp_path: Path, bare: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    root = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", *(["--bare"] if bare else []), str(root)], check=True)
    (root / ".gitattributes").write_text("*.pt filter=lfs\n*.bin -text\n")
    matcher = Matcher(root, [b"*.pt", b"models/*.bin", b"/top", b"deep/**", b"my model"])
    expected = {
        b"a.pt": {0},
        b"x/y/a.pt": {0},
        b"models/a.bin": {1},
        b"models/x/a.bin": set(),
        b"top": {2},
        b"x/top": set(),
        b"deep/er/a.pt": {0, 3},
        b"x/my model": {4},
        b"line\nbreak.pt": {0},
        b"latin\xe9.pt": {0},
    }
    assert {path: set(matcher.matching(path)) for path in expected} == expected
    matcher.close()
