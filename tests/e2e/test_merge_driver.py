"""Both sides changed a checkpoint and the driver is configured: ours stays, and every way out works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import MODEL, checkpoint, track_checkpoints

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

BASE, OURS, THEIRS = checkpoint(), checkpoint(b=1), checkpoint(e=1)


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """In the middle of a merge of branches main and topic, which changed different groups of one checkpoint."""
    track_checkpoints(repo)
    repo.write(MODEL, BASE)
    repo.commit("base")
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.write(MODEL, THEIRS)
    repo.commit("theirs")
    repo.git("checkout", "--quiet", "main")
    repo.write(MODEL, OURS)
    repo.commit("ours")
    said = repo.run("git", "merge", "topic", code=1).stderr.decode()
    assert f"git-theta: {MODEL}: both sides changed this checkpoint" in said
    assert f"hint: git checkout --theirs -- {MODEL}" in said
    return repo


def test_ours_stays_in_the_worktree_and_all_stages_in_the_index(repo: GitRepo) -> None:
    assert repo.read(MODEL) == OURS
    assert [line.split()[2] for line in repo.git("ls-files", "--stage", MODEL).splitlines()] == ["1", "2", "3"]


@pytest.mark.parametrize(("side", "content"), [("--ours", OURS), ("--theirs", THEIRS)])
def test_either_side_can_be_taken(repo: GitRepo, side: str, content: bytes) -> None:
    repo.git("checkout", side, "--", MODEL)
    assert repo.read(MODEL) == content
    repo.git("add", MODEL)
    repo.git("commit", "--message", "merged")
    assert repo.read(MODEL) == content
    assert repo.git("status", "--porcelain") == ""


def test_the_merge_can_be_aborted(repo: GitRepo) -> None:
    repo.git("merge", "--abort")
    assert repo.read(MODEL) == OURS
    assert repo.git("status", "--porcelain") == ""
