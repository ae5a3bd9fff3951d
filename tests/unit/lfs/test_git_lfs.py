"""Where git-lfs is looked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from git_theta.lfs import git_lfs


def test_git_lfs_beside_gits_own_programs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_EXEC_PATH", str(tmp_path))
    git = shutil.which("git")
    assert git
    here = tmp_path / "bin"
    here.mkdir()
    (here / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(git_lfs.GitLfsNotFound, match="not installed"):
        git_lfs.require_git_lfs("origin")
    program = tmp_path / "git-lfs"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    git_lfs.require_git_lfs("origin")
