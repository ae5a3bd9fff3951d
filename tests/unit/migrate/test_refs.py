"""Refs move together or not at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from git_theta.gitio.process import GitFailed
from git_theta.migrate.refs import Target, find_targets, move_refs


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    root = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    for name, value in (("user.name", "A"), ("user.email", "a@b")):
        subprocess.run(["git", "config", name, value], cwd=root, check=True)
    for message in ("one", "two"):
        subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", message], cwd=root, check=True)
    return root


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout.decode().strip()


@pytest.mark.parametrize("in_place", [True, False])
def test_refs_move_and_in_place_the_old_ones_are_kept(root: Path, in_place: bool) -> None:
    (target,) = find_targets(root, [], in_place=in_place)
    new = git(root, "rev-parse", "main~1")
    move_refs(root, {target: new}, in_place=in_place)
    assert git(root, "rev-parse", target.moved(in_place)) == new
    assert git(root, "rev-parse", target.original if in_place else target.name) == target.oid


def test_a_ref_that_moved_meanwhile_stops_all_of_them(root: Path) -> None:
    git(root, "branch", "other")
    before = git(root, "for-each-ref")
    first, second = find_targets(root, [], in_place=True)
    stale = Target(second.name, git(root, "rev-parse", "main~1"))
    with pytest.raises(GitFailed):
        move_refs(root, {first: stale.oid, stale: second.oid}, in_place=True)
    assert git(root, "for-each-ref") == before


def test_refs_that_stand_for_others_are_not_migrated_twice(root: Path) -> None:
    git(root, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    assert [target.name for target in find_targets(root, [], in_place=False)] == ["refs/heads/main"]
