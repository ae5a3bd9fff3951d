"""Rewriting and walking history: after every Git command the worktree holds the right checkpoint, byte for byte."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import MODEL, checkpoint, is_manifest, objects, restored, status, track_checkpoints

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

FIRST, SECOND, THIRD = checkpoint(), checkpoint(b=1), checkpoint(b=1, c=1)
OTHER = "other.safetensors"


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """A repository with one commit of the first checkpoint."""
    track_checkpoints(repo)
    repo.write(MODEL, FIRST)
    repo.commit("first")
    return repo


def commit_model(repo: GitRepo, content: bytes, message: str, name: str = MODEL) -> str:
    repo.write(name, content)
    return repo.commit(message)


def edit_todo(repo: GitRepo, program: str, *rebase: str) -> None:
    """Rebase interactively; ``program`` is Python that changes ``lines``, the list of instructions."""
    script = repo.write(
        "../edit_todo.py",
        "import sys, pathlib\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "lines = [line for line in path.read_text().splitlines() if line and line[0] != '#']\n"
        f"{program}\n"
        "path.write_text('\\n'.join(lines) + '\\n')\n".encode(),
    )
    editor = shlex.join([sys.executable, str(script)])
    repo.run("git", "rebase", "--interactive", *rebase, env={"GIT_SEQUENCE_EDITOR": editor})


def test_git_keeps_a_small_manifest_and_the_worktree_the_checkpoint(repo: GitRepo) -> None:
    manifest = repo.run("git", "cat-file", "blob", f"HEAD:{MODEL}").stdout
    assert is_manifest(manifest)
    assert len(manifest) < len(FIRST) / 10
    assert repo.read(MODEL) == FIRST
    assert status(repo) == ""


def test_amend_replaces_the_checkpoint_and_the_reflog_still_has_the_old_one(repo: GitRepo) -> None:
    commit_model(repo, SECOND, "second")
    repo.write(MODEL, THIRD)
    repo.git("commit", "--all", "--amend", "--no-edit")
    assert restored(repo) == THIRD
    repo.git("checkout", "--quiet", "HEAD@{1}")
    assert repo.read(MODEL) == SECOND


def test_rebase_moves_commits_of_one_checkpoint_over_commits_of_another(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    commit_model(repo, SECOND, "second")
    commit_model(repo, THIRD, "third")
    repo.git("checkout", "--quiet", "main")
    assert repo.read(MODEL) == FIRST
    commit_model(repo, checkpoint("xyz"), "other", OTHER)
    repo.git("rebase", "--quiet", "main", "topic")
    assert (repo.read(MODEL), repo.read(OTHER)) == (THIRD, checkpoint("xyz"))
    repo.git("checkout", "--quiet", "HEAD~1")
    assert repo.read(MODEL) == SECOND
    assert status(repo) == ""


def test_rebase_with_apply_backend_moves_commits(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    commit_model(repo, SECOND, "second")
    repo.git("checkout", "--quiet", "main")
    commit_model(repo, checkpoint("xyz"), "other", OTHER)
    repo.git("rebase", "--quiet", "--apply", "main", "topic")
    assert (repo.read(MODEL), repo.read(OTHER)) == (SECOND, checkpoint("xyz"))
    assert status(repo) == ""


def test_interactive_rebase_reorders_commits(repo: GitRepo) -> None:
    base = repo.git("rev-parse", "HEAD")
    commit_model(repo, SECOND, "second")
    commit_model(repo, checkpoint("xyz"), "other", OTHER)
    commit_model(repo, checkpoint("xyz", y=1), "other again", OTHER)
    edit_todo(repo, "lines = [lines[1], lines[2], lines[0]]", base)
    assert repo.git("log", "--format=%s", f"{base}..").splitlines() == ["second", "other again", "other"]
    assert (repo.read(MODEL), repo.read(OTHER)) == (SECOND, checkpoint("xyz", y=1))
    repo.git("checkout", "--quiet", "HEAD~2")
    assert (repo.read(MODEL), repo.read(OTHER)) == (FIRST, checkpoint("xyz"))
    assert status(repo) == ""


def test_interactive_rebase_squashes_and_drops(repo: GitRepo) -> None:
    base = repo.git("rev-parse", "HEAD")
    commit_model(repo, SECOND, "second")
    commit_model(repo, THIRD, "third")
    commit_model(repo, checkpoint("xyz"), "dropped", OTHER)
    edit_todo(repo, "lines = [lines[0], lines[1].replace('pick', 'fixup', 1)]", base)
    assert repo.git("log", "--format=%s", f"{base}..").splitlines() == ["second"]
    assert repo.read(MODEL) == THIRD
    assert not (repo.path / OTHER).exists()
    assert status(repo) == ""


def test_interactive_rebase_stops_for_an_edit_of_the_checkpoint(repo: GitRepo) -> None:
    base = repo.git("rev-parse", "HEAD")
    commit_model(repo, SECOND, "second")
    commit_model(repo, checkpoint("xyz"), "other", OTHER)
    edit_todo(repo, "lines[0] = lines[0].replace('pick', 'edit', 1)", base)
    assert repo.read(MODEL) == SECOND
    repo.write(MODEL, THIRD)
    repo.git("commit", "--all", "--amend", "--no-edit")
    repo.git("rebase", "--continue")
    assert (restored(repo), repo.read(OTHER)) == (THIRD, checkpoint("xyz"))


def test_cherry_pick_brings_a_checkpoint_from_another_branch(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    commit_model(repo, checkpoint("xyz"), "other", OTHER)
    picked = commit_model(repo, SECOND, "second")
    repo.git("checkout", "--quiet", "main")
    repo.git("cherry-pick", picked)
    assert repo.read(MODEL) == SECOND
    assert not (repo.path / OTHER).exists()
    assert status(repo) == ""


def test_revert_brings_back_the_bytes_before_and_a_second_revert_the_bytes_after(repo: GitRepo) -> None:
    commit_model(repo, SECOND, "second")
    repo.git("revert", "--no-edit", "HEAD")
    assert repo.read(MODEL) == FIRST
    assert repo.git("rev-parse", f"HEAD:{MODEL}") == repo.git("rev-parse", f"HEAD~2:{MODEL}")
    repo.git("revert", "--no-edit", "HEAD")
    assert repo.read(MODEL) == SECOND
    assert status(repo) == ""


def test_stash_and_pop_carry_a_changed_checkpoint(repo: GitRepo) -> None:
    repo.write(MODEL, SECOND)
    repo.git("stash")
    assert repo.read(MODEL) == FIRST
    assert status(repo) == ""
    repo.git("stash", "pop")
    assert repo.read(MODEL) == SECOND
    assert status(repo) == f" M {MODEL}"


def test_stash_keeps_staged_and_unstaged_versions_apart(repo: GitRepo) -> None:
    repo.write(MODEL, SECOND)
    repo.git("add", MODEL)
    repo.write(MODEL, THIRD)
    repo.git("stash")
    assert repo.read(MODEL) == FIRST
    repo.git("stash", "pop", "--index")
    assert repo.read(MODEL) == THIRD
    repo.git("checkout", "--", MODEL)
    assert repo.read(MODEL) == SECOND


def test_stash_of_untracked_files_carries_a_new_checkpoint(repo: GitRepo) -> None:
    repo.write(OTHER, checkpoint("xyz"))
    repo.write(MODEL, SECOND)
    repo.git("stash", "--include-untracked")
    assert not (repo.path / OTHER).exists()
    assert repo.read(MODEL) == FIRST
    repo.git("stash", "pop")
    assert (repo.read(MODEL), repo.read(OTHER)) == (SECOND, checkpoint("xyz"))


def test_a_stash_pops_onto_another_branch(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    commit_model(repo, checkpoint("xyz"), "other", OTHER)
    repo.write(MODEL, SECOND)
    repo.git("stash")
    repo.git("checkout", "--quiet", "main")
    repo.git("stash", "pop")
    assert repo.read(MODEL) == SECOND


def test_reset_hard_throws_away_changes_staged_or_not(repo: GitRepo) -> None:
    repo.write(MODEL, SECOND)
    repo.git("add", MODEL)
    repo.write(MODEL, THIRD)
    repo.git("reset", "--quiet", "--hard")
    assert repo.read(MODEL) == FIRST
    assert status(repo) == ""


def test_reset_hard_walks_back_and_forth(repo: GitRepo) -> None:
    commit_model(repo, SECOND, "second")
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    assert repo.read(MODEL) == FIRST
    repo.git("reset", "--quiet", "--hard", "HEAD@{1}")
    assert repo.read(MODEL) == SECOND
    assert status(repo) == ""


@pytest.mark.parametrize(("mode", "shown"), [("--soft", f"M  {MODEL}"), ("--mixed", f" M {MODEL}")])
def test_reset_that_keeps_files_keeps_the_checkpoint(repo: GitRepo, mode: str, shown: str) -> None:
    commit_model(repo, SECOND, "second")
    repo.git("reset", "--quiet", mode, "HEAD~1")
    assert repo.read(MODEL) == SECOND
    assert status(repo) == shown


def test_git_mv_moves_the_file_and_stores_nothing(repo: GitRepo) -> None:
    before = objects(repo)
    (repo.path / "kept").mkdir()
    repo.git("mv", MODEL, f"kept/renamed {MODEL}")
    repo.git("commit", "-m", "move")
    assert repo.git("log", "--follow", "--format=%s", f"kept/renamed {MODEL}").splitlines() == ["move", "first"]
    assert restored(repo, f"kept/renamed {MODEL}") == FIRST
    assert objects(repo) == before


def test_a_branch_switch_carries_a_change_the_other_branch_does_not_touch(repo: GitRepo) -> None:
    repo.git("branch", "topic")
    repo.write(MODEL, SECOND)
    repo.git("checkout", "topic")
    assert repo.read(MODEL) == SECOND
    assert status(repo) == f" M {MODEL}"


def test_a_branch_switch_that_would_overwrite_a_change_is_refused_and_forced(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    commit_model(repo, SECOND, "second")
    repo.git("checkout", "--quiet", "main")
    repo.write(MODEL, THIRD)
    refused = repo.run("git", "checkout", "topic", code=1)
    assert b"would be overwritten" in refused.stderr
    assert repo.read(MODEL) == THIRD
    repo.git("checkout", "--quiet", "--force", "topic")
    assert repo.read(MODEL) == SECOND
    assert status(repo) == ""


def test_a_file_touched_and_put_back_is_not_a_change(repo: GitRepo) -> None:
    before = repo.run("git", "cat-file", "blob", f":{MODEL}").stdout
    repo.write(MODEL, SECOND)
    assert status(repo) == f" M {MODEL}"
    repo.write(MODEL, FIRST)
    assert status(repo) == ""
    repo.git("add", "--renormalize", ".")
    assert repo.run("git", "cat-file", "blob", f":{MODEL}").stdout == before


def test_gc_and_an_expired_reflog_do_not_touch_objects(repo: GitRepo) -> None:
    commit_model(repo, SECOND, "second")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "--quiet", "--prune=now")
    assert restored(repo) == SECOND
    repo.git("checkout", "--quiet", "HEAD~1")
    assert repo.read(MODEL) == FIRST
