"""``git theta merge-file``: what it says when it cannot begin."""

from __future__ import annotations

from safetensors.numpy import load

from tests.e2e.conftest import GitRepo
from tests.e2e.support import checkpoint


def test_a_folder_that_does_not_exist_is_named(repo: GitRepo) -> None:
    for name in ("base", "ours", "theirs"):
        repo.write(name, checkpoint("a"))
    command = ["git", "theta", "merge-file", "base", "ours", "theirs", "-o"]
    done = repo.run(*command, "no dir/x.pt", code=1)
    assert done.stderr.decode() == (
        "git-theta: no dir/x.pt: the folder no dir does not exist\nhint: mkdir -p 'no dir'\n"
    )
    repo.write("no dir/other", b"")
    repo.run(*command, "no dir/x.pt")
    assert list(load(repo.read("no dir/x.pt"))) == ["a"]


def test_files_of_different_formats_are_told_apart(repo: GitRepo) -> None:
    repo.write("ours", checkpoint("a"))
    repo.write("theirs", b"no checkpoint")
    done = repo.run("git", "theta", "merge-file", "ours", "ours", "theirs", "-o", "merged", code=1)
    assert b"files of different formats cannot be merged: ours is safetensors, theirs is opaque" in done.stderr
    assert not (repo.path / "merged").exists()
