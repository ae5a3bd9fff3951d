"""Partial commands, answered hunk by hunk: text is split, a checkpoint goes whole or not at all, never spliced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import MODEL, checkpoint, restored, status, track_checkpoints

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

FIRST, SECOND = checkpoint(), checkpoint(b=1, e=1)
OLD = b"".join(b"line %d\n" % n for n in range(30))
UPPER, LOWER = OLD.replace(b"line 2\n", b"LINE 2\n"), OLD.replace(b"line 27", b"LINE 27")
BOTH = UPPER.replace(b"line 27", b"LINE 27")
YES = b"y\n" * 20


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """A checkpoint and a text, both committed and both changed."""
    track_checkpoints(repo)
    repo.write(MODEL, FIRST)
    repo.write("notes.txt", OLD)
    repo.commit("first")
    repo.write(MODEL, SECOND)
    repo.write("notes.txt", BOTH)
    return repo


def staged(repo: GitRepo, name: str) -> bytes:
    """What the index holds."""
    return repo.run("git", "cat-file", "blob", f":{name}").stdout


def test_add_p_stages_hunks_of_text_and_leaves_the_checkpoint(repo: GitRepo) -> None:
    before = staged(repo, MODEL)
    repo.git("add", "-p", stdin=b"y\nn\n")
    assert staged(repo, "notes.txt") == UPPER
    assert staged(repo, MODEL) == before
    assert repo.read(MODEL) == SECOND


def test_add_p_of_the_checkpoint_alone_offers_nothing_to_split(repo: GitRepo) -> None:
    before = staged(repo, MODEL)
    repo.git("add", "-p", MODEL, stdin=YES)
    assert staged(repo, MODEL) == before
    assert repo.read(MODEL) == SECOND


def test_commit_p_leaves_the_checkpoint_for_a_whole_add(repo: GitRepo) -> None:
    repo.git("commit", "-p", "-m", "half", stdin=b"y\nn\n")
    assert repo.run("git", "cat-file", "blob", "HEAD:notes.txt").stdout == UPPER
    repo.commit("the rest")
    assert (restored(repo), restored(repo, "notes.txt")) == (SECOND, BOTH)


def test_checkout_p_takes_back_hunks_of_text_and_leaves_the_checkpoint(repo: GitRepo) -> None:
    repo.git("checkout", "-p", stdin=b"n\ny\n")
    assert repo.read("notes.txt") == UPPER
    assert repo.read(MODEL) == SECOND
    repo.git("checkout", "-p", "HEAD", "--", MODEL, stdin=YES)
    assert repo.read(MODEL) == SECOND


def test_restore_p_leaves_the_checkpoint(repo: GitRepo) -> None:
    repo.git("restore", "-p", stdin=b"n\ny\n")
    assert repo.read("notes.txt") == UPPER
    assert repo.read(MODEL) == SECOND


def test_reset_p_unstages_hunks_of_text_and_leaves_the_checkpoint_staged(repo: GitRepo) -> None:
    repo.git("add", "--all")
    whole = staged(repo, MODEL)
    repo.git("reset", "-p", stdin=b"n\ny\n")
    assert staged(repo, "notes.txt") == UPPER
    assert staged(repo, MODEL) == whole
    assert restored(repo) == SECOND


def test_stash_p_takes_hunks_of_text_and_leaves_the_checkpoint(repo: GitRepo) -> None:
    repo.git("stash", "push", "-p", stdin=b"n\ny\n")
    assert repo.read("notes.txt") == UPPER
    assert repo.read(MODEL) == SECOND
    repo.git("checkout", "--", "notes.txt")
    repo.git("stash", "pop")
    assert repo.read("notes.txt") == LOWER
    assert repo.read(MODEL) == SECOND


def test_stash_p_of_the_checkpoint_alone_changes_nothing(repo: GitRepo) -> None:
    repo.git("stash", "push", "-p", "--", MODEL, stdin=YES, code=None)
    assert repo.read(MODEL) == SECOND
    assert status(repo) == f" M {MODEL}\n M notes.txt"
