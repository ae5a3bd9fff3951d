"""Where there is no worktree: a bare repository has commits to look at; the inside of ``.git`` gets one clear line."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import GitRepo, make_repository
from tests.e2e.support import MODEL, checkpoint, track_checkpoints


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """Two versions of a checkpoint in a folder whose attributes are its own."""
    repo = track_checkpoints(make_repository(tmp_path_factory.mktemp("bare")))
    repo.write("sub/.gitattributes", b"plain.safetensors -filter\n")
    repo.write("sub/plain.safetensors", b"as it is")
    repo.write(MODEL, checkpoint("ab"))
    repo.commit("one")
    repo.write(MODEL, checkpoint("ab", a=1))
    repo.commit("two")
    return repo


@pytest.fixture(scope="module")
def bare(repo: GitRepo) -> GitRepo:
    """A bare clone of it, without objects."""
    repo.git("clone", "--quiet", "--bare", repo.path.as_uri(), "../bare.git")
    return repo.at(repo.path.parent / "bare.git")


@pytest.mark.parametrize("revision", [[], ["--rev", "HEAD~1"]])
def test_a_bare_repository_lists_the_checkpoints_of_a_commit(bare: GitRepo, revision: list[str]) -> None:
    assert [row["path"] for row in json.loads(bare.theta("ls-files", "--json", *revision))] == [MODEL]


def test_a_bare_repository_compares_commits(bare: GitRepo) -> None:
    assert bare.theta("diff", "--name-only", "HEAD~1", "HEAD") == f"{MODEL}\ta"


def test_head_stands_for_the_index_of_a_bare_repository(bare: GitRepo) -> None:
    assert bare.theta("diff", "--cached", "HEAD~1") == bare.theta("diff", "HEAD~1", "HEAD")
    assert bare.theta("diff", "--cached") == ""


def test_status_of_a_bare_repository_is_that_of_head(bare: GitRepo) -> None:
    (file,) = json.loads(bare.theta("status", "--json"))["files"]
    assert (file["path"], file["worktree"], len(file["missing_objects"])) == (MODEL, "no worktree", 2)
    assert "git theta fetch brings them" in bare.theta("status")


def test_a_bare_repository_without_commits_tracks_nothing(repo: GitRepo) -> None:
    repo.git("init", "--quiet", "--bare", "../empty.git")
    empty = repo.at(repo.path.parent / "empty.git")
    assert empty.theta("status").startswith("nothing is tracked here yet")
    assert empty.theta("ls-files") == ""


@pytest.mark.parametrize("command", ["checkout", "pull", "track *.pt"])
def test_what_writes_files_needs_a_worktree(bare: GitRepo, command: str) -> None:
    said = bare.run("git", "theta", *command.split(), code=3).stderr.decode()
    assert said == f"git-theta: {bare.path} has no worktree here\nhint: run this where the files are checked out\n"
    assert not (bare.path / MODEL).exists()


@pytest.mark.parametrize("command", ["status", "ls-files", "diff", "checkout", "pull", "track", "untrack x"])
def test_inside_the_git_folder_one_line_says_that_this_is_no_worktree(repo: GitRepo, command: str) -> None:
    done = repo.run("git", "theta", *command.split(), cwd=".git", code=3)
    folder = (repo.path / ".git").resolve()
    assert done.stderr.decode() == (
        f"git-theta: {folder} has no worktree here\nhint: run this where the files are checked out\n"
    )
