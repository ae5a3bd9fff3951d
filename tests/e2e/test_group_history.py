"""Who changed a parameter group last, and which commits changed it: through renames and merges."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import MODEL, checkpoint, noise, track_checkpoints

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """Two commits of a model; the second changed group c."""
    track_checkpoints(repo)
    repo.write(MODEL, checkpoint())
    repo.commit("first")
    repo.write(MODEL, checkpoint(c=1))
    repo.commit("second")
    return repo


def blame(repo: GitRepo, *args: str) -> dict[str, str]:
    """Group to the subject of its commit."""
    found = json.loads(repo.theta("blame", "--json", *args))
    return {row["group"]: row["subject"] for row in found["groups"]}


def subjects(repo: GitRepo, *args: str) -> list[str]:
    """The subjects of the commits that log lists."""
    said = repo.theta("log", *args).splitlines()
    return [said[at + 1].split(": ", 1)[1] for at, line in enumerate(said) if line.startswith("commit ")]


def test_each_group_is_blamed_on_the_commit_that_changed_it_last(repo: GitRepo) -> None:
    assert blame(repo, MODEL) == {letter: "second" if letter == "c" else "first" for letter in "abcdef"}
    assert set(blame(repo, MODEL, "HEAD~1").values()) == {"first"}
    assert blame(repo, MODEL, "--group", "[cd]") == {"c": "second", "d": "first"}
    lines = repo.theta("blame", MODEL).splitlines()
    assert len(lines) == 7
    assert lines[3].split()[2:] == ["Ada", "c"]


def test_blame_follows_renames_of_file_and_group(repo: GitRepo) -> None:
    from safetensors.numpy import save

    repo.git("mv", MODEL, "renamed.safetensors")
    repo.commit("file renamed")
    arrays = {f"layer.{name}": noise(name, 1 if name == "c" else 0) for name in "abcdef"}
    repo.write("renamed.safetensors", save(arrays))
    repo.commit("groups renamed")
    found = blame(repo, "renamed.safetensors")
    assert found == {f"layer.{letter}": "second" if letter == "c" else "first" for letter in "abcdef"}
    log = [line for line in repo.theta("log", "--stat", "--group", "*c").splitlines() if "Ada: " in line]
    assert [line.split(": ")[1] for line in log] == ["groups renamed", "second", "first"]


def test_groups_that_a_merge_took_from_one_side_are_not_its_own(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "topic", "HEAD~1")
    repo.write(MODEL, checkpoint(e=1))
    repo.commit("topic")
    repo.git("checkout", "--quiet", "main")
    repo.git("merge", "--quiet", "--no-commit", "topic", code=None)
    repo.write(MODEL, checkpoint(c=1, e=1, f=2))
    repo.commit("merged")
    assert blame(repo, MODEL) == {"a": "first", "b": "first", "c": "second", "d": "first", "e": "topic", "f": "merged"}
    first, *middle, last = subjects(repo, "--group", "[cef]")
    assert (first, sorted(middle), last) == ("merged", ["second", "topic"], "first")
    assert subjects(repo, "--group", "e") == ["topic", "first"]
    assert subjects(repo, "--group", "f", MODEL) == ["merged", "first"]


def test_log_with_a_group_tells_the_size_of_the_change(repo: GitRepo) -> None:
    said = repo.theta("log", "--group", "c")
    assert "~ c" in said
    assert "1 changed" in said
    assert "~ c" not in repo.theta("log", "--group", "d")
    assert "100%" not in repo.theta("log", "--group", "c", "--stat")
    assert repo.theta("log", "--oneline", "-n", "1", "--group", "c").split()[1:] == ["second"]
    assert subjects(repo, "--group", "c", "HEAD~1") == ["first"]
    assert subjects(repo, "--group", "c", "HEAD~1..", MODEL) == ["second"]
    assert subjects(repo, "--group", "c", "--author=nobody") == []
    assert b"'nosuch'" in repo.run("git", "theta", "log", "--group", "nosuch", code=1).stderr
    assert b"gone.pt" in repo.run("git", "theta", "log", "--group", "c", "--", "gone.pt", code=1).stderr
    assert b"--graph" in repo.run("git", "theta", "log", "--graph", "--group", "c", code=2).stderr


def test_log_without_a_group_is_git_log_with_reports(repo: GitRepo) -> None:
    said = repo.theta("log", "-p", "-1", "--format=%s", "--", MODEL)
    assert said.splitlines()[0] == "second"
    assert "diff --theta" in said
    assert repo.theta("log", "--oneline") == repo.git("log", "--oneline")


def test_blame_of_what_is_no_checkpoint_is_refused(repo: GitRepo) -> None:
    done = repo.run("git", "theta", "blame", "nothing.pt", code=1)
    assert b"nothing.pt is no tracked checkpoint in HEAD" in done.stderr
    assert b"git theta ls-files --rev HEAD" in done.stderr
    repo.run("git", "theta", "blame", MODEL, "nowhere", code=1)
    for command in (["blame", MODEL], ["diff", "HEAD~1"], ["diff", "--stat", "HEAD~1"]):
        done = repo.run("git", "theta", *command, "--group", "nosuch", code=1)
        assert (done.stdout, b"no parameter group is called 'nosuch'" in done.stderr) == (b"", True)
    assert repo.theta("diff", "HEAD~1", "--group", "a") == ""
