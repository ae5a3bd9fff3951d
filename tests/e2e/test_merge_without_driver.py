"""A clone whose merge driver was never configured: Git merges manifests as text, and nothing is lost by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import MODEL, checkpoint, is_manifest, restored, status, track_checkpoints

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

BASE, OURS, THEIRS = checkpoint(), checkpoint(b=1), checkpoint(e=1)


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """Branches main and topic that changed different groups of one checkpoint; filters only, no merge driver."""
    track_checkpoints(repo)
    repo.git("config", "--global", "--remove-section", "merge.theta", code=None)
    repo.write(MODEL, BASE)
    repo.commit("base")
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.write(MODEL, THEIRS)
    repo.commit("theirs")
    repo.git("checkout", "--quiet", "main")
    repo.write(MODEL, OURS)
    repo.commit("ours")
    return repo


def conflict(repo: GitRepo, *command: str) -> None:
    """Run a command that must end in a conflict, with markers in the manifest that is in the worktree."""
    repo.git(*command, code=1)
    content = repo.read(MODEL)
    assert is_manifest(content)
    assert b"\n<<<<<<< " in content
    assert repo.git("status", "--porcelain") == f"UU {MODEL}"


def test_even_changes_to_different_groups_conflict(repo: GitRepo) -> None:
    conflict(repo, "merge", "topic")


def test_merge_abort_brings_back_our_bytes(repo: GitRepo) -> None:
    conflict(repo, "merge", "topic")
    repo.git("merge", "--abort")
    assert repo.read(MODEL) == OURS
    assert status(repo) == ""


@pytest.mark.parametrize("command", [("add", MODEL), ("commit", "--all", "-m", "no")])
def test_a_manifest_with_conflict_markers_cannot_be_added(repo: GitRepo, command: tuple[str, ...]) -> None:
    conflict(repo, "merge", "topic")
    refused = repo.run("git", *command, code=128).stderr.decode()
    (line,) = [line for line in refused.splitlines() if line.startswith(f"git-theta: {MODEL}: ")]
    assert "conflict" in line
    assert "hint: " in refused
    assert repo.git("status", "--porcelain") == f"UU {MODEL}"


@pytest.mark.parametrize(("side", "expected"), [("--ours", OURS), ("--theirs", THEIRS)])
def test_taking_one_side_resolves_the_conflict(repo: GitRepo, side: str, expected: bytes) -> None:
    conflict(repo, "merge", "topic")
    repo.git("checkout", side, "--", MODEL)
    assert repo.read(MODEL) == expected
    repo.git("add", MODEL)
    repo.git("commit", "-m", "merged")
    assert restored(repo) == expected
    assert status(repo) == ""


def test_a_checkpoint_made_by_hand_resolves_the_conflict(repo: GitRepo) -> None:
    conflict(repo, "merge", "topic")
    repo.write(MODEL, checkpoint(b=1, e=1))
    repo.git("commit", "--all", "-m", "merged")
    assert restored(repo) == checkpoint(b=1, e=1)


@pytest.mark.parametrize("style", ["diff3", "zdiff3"])
def test_other_conflict_styles_are_refused_too(repo: GitRepo, style: str) -> None:
    repo.git("config", "merge.conflictStyle", style)
    conflict(repo, "merge", "topic")
    assert b"conflict" in repo.run("git", "add", MODEL, code=128).stderr


def test_markers_in_the_first_line_are_refused(repo: GitRepo) -> None:
    manifest = repo.run("git", "cat-file", "blob", "HEAD:" + MODEL).stdout
    repo.write(MODEL, b"<<<<<<< HEAD\n" + manifest + b"=======\n" + manifest + b">>>>>>> topic\n")
    assert b"conflict" in repo.run("git", "add", MODEL, code=128).stderr


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_blend_that_git_commits_by_itself_is_called_damaged_and_can_be_undone(repo: GitRepo, side: str) -> None:
    """With -X, Git takes each hunk from some side and commits without asking any filter."""
    done = repo.run("git", "merge", "--no-edit", "-X", side, "topic")
    assert f"git-theta: {MODEL}: ".encode() in done.stderr
    assert is_manifest(repo.read(MODEL))
    assert "damaged manifest" in repo.theta("fsck", code=4)
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    assert repo.read(MODEL) == OURS


@pytest.mark.parametrize(
    ("command", "way_out"),
    [
        (("cherry-pick", "topic"), ("cherry-pick", "--abort")),
        (("cherry-pick", "topic"), ("reset", "--quiet", "--hard")),
        (("rebase", "topic"), ("rebase", "--abort")),
        (("revert", "--no-edit", "HEAD~1"), ("revert", "--abort")),
    ],
)
def test_every_way_out_of_a_conflict_works(repo: GitRepo, command: tuple[str, ...], way_out: tuple[str, ...]) -> None:
    if command[0] == "revert":
        repo.write(MODEL, checkpoint(b=2))
        repo.commit("ours again")
    before = repo.read(MODEL)
    conflict(repo, *command)
    repo.git(*way_out)
    assert repo.read(MODEL) == before
    assert status(repo) == ""


def test_a_rebase_goes_on_after_a_side_was_taken(repo: GitRepo) -> None:
    conflict(repo, "rebase", "topic")
    repo.git("checkout", "--theirs", "--", MODEL)
    repo.git("add", MODEL)
    repo.git("rebase", "--continue")
    assert repo.read(MODEL) == OURS
    assert repo.git("log", "--format=%s").splitlines()[:2] == ["ours", "theirs"]


def test_a_rebase_skips_the_conflicting_commit(repo: GitRepo) -> None:
    conflict(repo, "rebase", "topic")
    repo.git("rebase", "--skip")
    assert repo.read(MODEL) == THEIRS
    assert status(repo) == ""


def test_a_stash_that_conflicts_stays_and_can_be_left(repo: GitRepo) -> None:
    repo.write(MODEL, checkpoint(b=3))
    repo.git("stash")
    repo.write(MODEL, checkpoint(b=4))
    repo.commit("meanwhile")
    conflict(repo, "stash", "pop")
    repo.git("checkout", "--theirs", "--", MODEL)
    assert repo.read(MODEL) == checkpoint(b=3)
    repo.git("reset", "--quiet", "--hard")
    assert repo.read(MODEL) == checkpoint(b=4)
    assert len(repo.git("stash", "list").splitlines()) == 1


def test_a_one_sided_change_merges_without_a_driver(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    repo.write("notes.txt", b"notes\n")
    repo.commit("notes")
    repo.git("merge", "--no-edit", "topic")
    assert repo.read(MODEL) == THEIRS
    assert status(repo) == ""


def test_a_truncated_placeholder_is_refused(repo: GitRepo) -> None:
    manifest = repo.run("git", "cat-file", "blob", "HEAD:" + MODEL).stdout
    repo.write(MODEL, manifest[: len(manifest) // 2])
    assert b"git-theta: " in repo.run("git", "add", MODEL, code=128).stderr
    assert repo.run("git", "cat-file", "blob", ":" + MODEL).stdout == manifest
