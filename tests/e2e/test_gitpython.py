"""GitPython beside us: what runs Git goes through the filters; its own index writer does not, and status says so."""

from __future__ import annotations

import pytest
from git import Repo

from tests.e2e.conftest import GitRepo
from tests.e2e.support import MODEL, checkpoint, is_manifest, track_checkpoints


@pytest.fixture
def python(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """The repository as a training script sees it."""
    track_checkpoints(repo)
    repo.write(MODEL, checkpoint("ab"))
    for name in ("HOME", "PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        monkeypatch.setenv(name, repo.env[name])
    return Repo(repo.path)


def test_add_commit_and_checkout_of_its_git_command_run_through_the_filters(repo: GitRepo, python: Repo) -> None:
    with python:
        python.git.add(MODEL)
        python.index.commit("one")
        assert is_manifest(python.head.commit.tree[MODEL].data_stream.read())
        repo.write(MODEL, checkpoint("ab", a=1))
        python.git.add(MODEL)
        python.index.commit("two")
        assert "1 changed" in python.git.diff("HEAD~1", ext_diff=True)
        python.git.checkout("HEAD~1", "--", MODEL)
    assert repo.read(MODEL) == checkpoint("ab")


def test_what_its_own_index_adds_whole_is_told_by_status_and_mended_by_renormalize(repo: GitRepo, python: Repo) -> None:
    with python:
        python.index.add([MODEL])
        python.index.commit("whole")
        assert python.head.commit.tree[MODEL].data_stream.read() == checkpoint("ab")
    said = repo.theta("status")
    assert f"{MODEL}: stored as it is, without the filter" in said
    assert f"git add --renormalize {MODEL}" in said
    repo.git("add", "--renormalize", MODEL)
    assert is_manifest(repo.run("git", "cat-file", "blob", f":{MODEL}").stdout)
