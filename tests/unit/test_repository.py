"""Where a repository is, from everywhere Git can be run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from git_theta.gitio import GitFailed, NotARepository, ask_git, find_repository
from git_theta.gitio.process import NoRevision, NoWorktree


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, reached by its real path."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    path = tmp_path.resolve() / "a repo"
    git("init", "--quiet", path)
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    git("-C", path, *identity, "commit", "--quiet", "--allow-empty", "--message", "first")
    return path


def git(*arguments: str | Path) -> None:
    subprocess.run(["git", *arguments], check=True)


def test_a_subfolder_finds_the_top_of_the_worktree(folder: Path) -> None:
    (folder / "deep" / "down").mkdir(parents=True)
    found = find_repository(folder / "deep" / "down")
    assert (found.worktree, found.git_dir, found.common_dir) == (folder, folder / ".git", folder / ".git")
    assert found.root == folder


def test_a_linked_worktree_has_its_own_git_dir_and_shares_the_common_one(folder: Path) -> None:
    other = folder.parent / "other"
    git("-C", folder, "worktree", "add", "--quiet", "-b", "side", other)
    found = find_repository(other)
    assert (found.worktree, found.common_dir) == (other, folder / ".git")
    assert found.git_dir == folder / ".git" / "worktrees" / "other"


def test_a_bare_repository_has_no_worktree(folder: Path) -> None:
    bare = folder.parent / "bare.git"
    git("clone", "--quiet", "--bare", folder, bare)
    found = find_repository(bare)
    assert (found.worktree, found.git_dir, found.common_dir) == (None, bare, bare)
    assert found.root == bare


def test_inside_the_git_folder_there_is_no_worktree(folder: Path) -> None:
    assert find_repository(folder / ".git").worktree is None


def test_git_dir_and_work_tree_variables_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = folder.parent / "tree"
    tree.mkdir()
    monkeypatch.setenv("GIT_DIR", str(folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tree))
    found = find_repository(tree)
    assert (found.worktree, found.git_dir) == (tree, folder / ".git")


def test_a_path_with_a_newline_is_found(folder: Path) -> None:
    odd = folder.parent / "two\nlines"
    folder.rename(odd)
    assert find_repository(odd).worktree == odd


def test_no_repository_is_an_error_with_what_to_type(folder: Path) -> None:
    with pytest.raises(NotARepository, match="not a git repository") as caught:
        find_repository(folder.parent)
    assert caught.value.exit_code == 3
    assert caught.value.hint is not None
    assert "git init" in caught.value.hint


def test_a_refusal_carries_the_words_of_git(folder: Path) -> None:
    with pytest.raises(GitFailed, match="git rev-parse: Needed a single revision") as caught:
        ask_git("rev-parse", "--verify", "nothing", cwd=folder)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("command", ["rev-list nothing^{tree}", "diff nothing", "ls-tree -r nothing"])
def test_a_revision_that_does_not_exist_is_named(folder: Path, command: str) -> None:
    with pytest.raises(NoRevision, match=r"\Athere is no revision nothing\Z"):
        ask_git(*command.split(), cwd=folder)


def test_inside_the_git_folder_questions_about_files_have_no_worktree(folder: Path) -> None:
    with pytest.raises(NoWorktree, match="has no worktree here"):
        ask_git("ls-files", "--others", cwd=folder / ".git")


def test_an_expected_exit_code_is_an_answer(folder: Path) -> None:
    assert ask_git("config", "--get", "no.such", cwd=folder, codes=(0, 1)) == b""
