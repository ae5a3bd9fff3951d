"""Files above theta.smudgeLimit, which plain Git would hold in memory: hooks write them, or a placeholder says how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import MODEL, checkpoint, is_manifest, track_checkpoints

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

FIRST, SECOND, SMALL = checkpoint(), checkpoint(b=1), checkpoint("a")


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """On main with the first checkpoint; ``topic`` has the second. Both are above the limit, small.pt is not."""
    track_checkpoints(repo)
    repo.git("config", "--global", "theta.smudgeLimit", "50k")
    repo.write(MODEL, FIRST)
    repo.write("small.pt", SMALL)
    repo.commit("first")
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.write(MODEL, SECOND)
    repo.commit("second")
    repo.git("checkout", "--quiet", "main")
    return repo


def clean_status(repo: GitRepo) -> bool:
    """Whether Git finds nothing changed and nothing left behind."""
    return repo.git("status", "--porcelain") == ""


def test_plain_checkout_ends_with_the_whole_file(repo: GitRepo) -> None:
    assert repo.read(MODEL) == FIRST
    repo.git("checkout", "topic")
    assert repo.read(MODEL) == SECOND
    assert clean_status(repo)
    repo.git("switch", "main")
    assert repo.read(MODEL) == FIRST
    (repo.path / MODEL).unlink()
    repo.git("checkout", "--", MODEL)
    assert repo.read(MODEL) == FIRST
    assert clean_status(repo)
    repo.git("restore", "--source=topic", "--", MODEL)
    assert repo.read(MODEL) == SECOND


def test_merge_and_pull_end_with_the_whole_file(repo: GitRepo) -> None:
    repo.write("notes.txt", b"notes\n")
    repo.commit("notes")
    repo.git("merge", "--no-edit", "topic")
    assert repo.read(MODEL) == SECOND
    assert clean_status(repo)


def test_a_new_worktree_ends_with_the_whole_file(repo: GitRepo) -> None:
    repo.git("worktree", "add", "--quiet", "../linked", "topic")
    linked = repo.at(repo.path.parent / "linked")
    assert (linked.read(MODEL), linked.read("small.pt")) == (SECOND, SMALL)
    assert clean_status(linked)


def test_a_clone_ends_with_the_whole_file(repo: GitRepo) -> None:
    storage = repo.path / ".git" / "theta"
    repo.git("clone", "--quiet", f"--config=theta.storage={storage}", repo.path.as_uri(), "../clone")
    clone = repo.at(repo.path.parent / "clone")
    assert (clone.read(MODEL), clone.read("small.pt")) == (FIRST, SMALL)
    assert clean_status(clone)


@pytest.mark.parametrize("command", ["reset --quiet --hard topic", "stash pop", "cherry-pick topic"])
def test_commands_without_a_hook_leave_a_placeholder_that_theta_checkout_completes(repo: GitRepo, command: str) -> None:
    repo.write(MODEL, SECOND)
    repo.git("stash")
    repo.theta("checkout")
    assert repo.read(MODEL) == FIRST
    said = repo.run("git", *command.split()).stderr.decode()
    assert is_manifest(repo.read(MODEL))
    assert "git theta checkout" in said
    repo.theta("checkout")
    assert repo.read(MODEL) == SECOND


def test_rebase_passes_through_and_ends_complete_after_theta_checkout(repo: GitRepo) -> None:
    repo.write("notes.txt", b"notes\n")
    repo.commit("notes")
    repo.git("rebase", "main", "topic")
    repo.theta("checkout")
    assert repo.read(MODEL) == SECOND
    assert clean_status(repo)
    assert repo.git("log", "--format=%s").splitlines()[:3] == ["second", "notes", "first"]


def test_a_placeholder_left_by_one_command_does_not_come_back_by_another(repo: GitRepo) -> None:
    repo.git("reset", "--quiet", "--hard", "topic")
    repo.write("notes.txt", b"notes\n")
    repo.git("commit", "--all", "--allow-empty", "-m", "with the placeholder")
    assert repo.git("rev-parse", f"HEAD:{MODEL}") == repo.git("rev-parse", f"HEAD~1:{MODEL}")
    repo.git("checkout", "--quiet", "HEAD~2")
    assert repo.read(MODEL) == FIRST
