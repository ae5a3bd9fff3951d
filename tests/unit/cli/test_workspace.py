"""What a workspace knows of a path from the index and from HEAD."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from git_theta.cli.workspace import open_workspace
from git_theta.manifest import parse

MANIFEST = (Path(__file__).parents[2] / "golden" / "manifest-1.txt").read_bytes()
NAMES = ["model.pt", "1:model.pt", ":model.pt", "a\nb.pt"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Names with a manifest each: committed, and in the index."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    path = tmp_path / "repo"
    subprocess.run(["git", "init", "--quiet", path], check=True)
    for name in NAMES:
        (path / name).write_bytes(MANIFEST)
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", "add", "."], cwd=path, check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "-m", "one"], cwd=path, check=True)
    return path


def test_a_name_that_reads_like_a_stage_of_the_index_is_a_name(repository: Path) -> None:
    workspace = open_workspace(repository)
    try:
        for name in NAMES[:3]:
            assert workspace.committed(name) == [MANIFEST, MANIFEST]
        assert workspace.committed(NAMES[3]) == [None, None]
        assert workspace.committed("../model.pt") == []
    finally:
        workspace.close()


def test_one_manifest_in_index_and_head_is_parsed_once(repository: Path) -> None:
    workspace = open_workspace(repository)
    try:
        assert workspace.priors("model.pt") == [parse(MANIFEST)]
    finally:
        workspace.close()
