"""Killed, interrupted, run twice at once, overwritten, out of space: the same command again makes it good.

Nothing here waits for a moment to come: a relay between Git and the filter acts after an exact number of bytes, and an
audit hook ends the process at its n-th step on disk.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import GitRepo, make_repository
from tests.e2e.support import (
    MODEL,
    intrude,
    is_manifest,
    leave_alone,
    noise,
    restored,
    status,
    track_checkpoints,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")

STEPS = Path(__file__).with_name("steps")
KILL_BOTH = "kill -KILL $FILTER $GIT"
KILL_FILTER = "kill -KILL $FILTER"
# Git starts in a process group of its own here, as it does in a terminal.
CTRL_C = "kill -INT -$GIT"


def model(seed: int, extra: int = 0) -> bytes:
    """A group of two chunks, one with an object of its own, and small ones that share an object."""
    from safetensors.numpy import save

    large = {"big": noise("big", seed, 1_200_000 + extra), "mid": noise("mid", seed, 300_000)}
    content: bytes = save(large | {name: noise(name, seed) for name in "stuv"})
    return content


OLD, NEW = model(0), model(1)


def points(seed: int, number: int, below: int) -> list[int]:
    """Places to strike at: the first and last byte, and random ones between, from a fixed seed."""
    return [1, *sorted(random.Random(seed).sample(range(2, below), number - 2)), below]


@pytest.fixture(scope="module")
def old_only(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """One commit of the old checkpoint."""
    repo = track_checkpoints(make_repository(tmp_path_factory.mktemp("old_only")))
    repo.write(MODEL, OLD)
    repo.commit("old")
    return repo


@pytest.fixture(scope="module")
def both(old_only: GitRepo, tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """Branch ``new`` is one commit ahead of main, where we are."""
    repo = copy_of(old_only, tmp_path_factory.mktemp("both") / "repo")
    repo.git("checkout", "--quiet", "-b", "new")
    repo.write(MODEL, NEW)
    repo.commit("new")
    repo.git("checkout", "--quiet", "main")
    return repo


@pytest.fixture
def repo(both: GitRepo, tmp_path: Path) -> GitRepo:
    """On main, with the new checkpoint on branch ``new``."""
    return copy_of(both, tmp_path / "repo")


@pytest.fixture
def edited(old_only: GitRepo, tmp_path: Path) -> GitRepo:
    """On main, with the new checkpoint in the worktree and not added yet."""
    repo = copy_of(old_only, tmp_path / "repo")
    save_long_ago(repo, NEW)
    return repo


def save_long_ago(repo: GitRepo, content: bytes) -> None:
    """Write the model, dated back: many builds of Git tell a file of the same size from another by whole seconds."""
    os.utime(repo.write(MODEL, content), (1_500_000_000, 1_500_000_000))


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Undo what a shell does to commands in the background, and their children: they ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def copy_of(repo: GitRepo, target: Path) -> GitRepo:
    shutil.copytree(repo.path, target, symlinks=True)
    return repo.at(target)


def index_manifest(repo: GitRepo) -> bytes:
    return repo.run("git", "cat-file", "blob", f":{MODEL}").stdout


def staged(repo: GitRepo) -> bytes:
    """The checkpoint that the index's manifest stands for."""
    return repo.run("git", "cat-file", "--filters", f":{MODEL}").stdout


def drafts(repo: GitRepo) -> list[Path]:
    """Unfinished objects."""
    return list((repo.path / ".git" / "theta" / "tmp").glob("*"))


def unlock(repo: GitRepo) -> None:
    """What Git asks for after it was killed itself."""
    (repo.path / ".git" / "index.lock").unlink(missing_ok=True)


def check_add_again(repo: GitRepo, content: bytes = NEW) -> None:
    """The same ``git add`` now works, and all bytes are safe."""
    leave_alone(repo)
    unlock(repo)
    assert repo.read(MODEL) == content
    repo.git("add", MODEL)
    assert restored(repo) == content
    repo.git("commit", "-m", "new")
    repo.git("checkout", "--quiet", "HEAD~1")
    assert repo.read(MODEL) == OLD
    assert "all good" in repo.theta("fsck")


def check_checkout_again(repo: GitRepo) -> None:
    """The same ``git checkout`` now works."""
    leave_alone(repo)
    unlock(repo)
    repo.git("checkout", "--quiet", "new")
    assert repo.read(MODEL) == NEW
    assert status(repo) == ""
    repo.git("checkout", "--quiet", "main")
    assert repo.read(MODEL) == OLD
    assert "all good" in repo.theta("fsck")


# kill -9


@pytest.mark.parametrize("action", [KILL_FILTER, KILL_BOTH], ids=["filter killed", "filter and git killed"])
@pytest.mark.parametrize("sent", points(11, 5, len(NEW)))
def test_an_add_killed_while_git_sends_the_file(edited: GitRepo, sent: int, action: str) -> None:
    before = index_manifest(edited)
    intrude(edited, f"in:{sent}", action)
    assert edited.run("git", "add", MODEL, code=None).returncode != 0
    assert index_manifest(edited) == before
    check_add_again(edited)


@pytest.mark.parametrize("answered", points(12, 3, 600))
def test_an_add_killed_while_git_reads_the_manifest(edited: GitRepo, answered: int) -> None:
    before = index_manifest(edited)
    intrude(edited, f"out:{answered}", KILL_BOTH)
    assert edited.run("git", "add", MODEL, code=None).returncode != 0
    assert index_manifest(edited) == before
    check_add_again(edited)


@pytest.mark.parametrize("action", [KILL_FILTER, KILL_BOTH], ids=["filter killed", "filter and git killed"])
@pytest.mark.parametrize("answered", points(13, 4, len(NEW)))
def test_a_checkout_killed_while_git_reads_the_file(repo: GitRepo, answered: int, action: str) -> None:
    intrude(repo, f"out:{answered}", action)
    # What was in the pipe when the filter died still arrives, and may be all of it.
    assert repo.run("git", "checkout", "new", code=None).returncode != 0 or repo.read(MODEL) == NEW
    shown = repo.path / MODEL
    assert not shown.exists() or shown.read_bytes() in (OLD, NEW)
    check_checkout_again(repo)


def each_step(number: str, run: Callable[[int, dict[str, str]], int]) -> Iterator[int]:
    """Run once per step on disk, ended by the signal at that step; stops when a run got through all of them."""
    path = os.pathsep.join(filter(None, [str(STEPS), os.environ.get("PYTHONPATH")]))
    for step in count(1):
        if run(step, {"PYTHONPATH": path, "THETA_TEST_STEP": str(step), "THETA_TEST_SIGNAL": number}) == 0:
            assert step > 5
            return
        yield step


def test_an_add_killed_before_each_step_on_disk(edited: GitRepo, tmp_path: Path) -> None:
    copies: list[GitRepo] = []

    def add(step: int, env: dict[str, str]) -> int:
        copies.append(copy_of(edited, tmp_path / f"step {step}"))
        return copies[-1].run("git", "add", MODEL, env=env, code=None).returncode

    for _ in each_step("SIGKILL", add):
        copies[-1].git("add", MODEL)
        assert staged(copies[-1]) == NEW
        assert "all good" in copies[-1].theta("fsck")


@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT"])
def test_a_theta_checkout_ended_before_each_step_on_disk(repo: GitRepo, tmp_path: Path, number: str) -> None:
    """With the old file as it was or the new one whole, and after Ctrl-C without a trace."""
    repo.run("git", "checkout", "--quiet", "new", env={"GIT_THETA_SKIP_SMUDGE": "1"})
    left = repo.read(MODEL)
    copies: list[GitRepo] = []

    def checkout(step: int, env: dict[str, str]) -> int:
        copies.append(copy_of(repo, tmp_path / f"step {step}"))
        return copies[-1].run("git-theta", "checkout", env=env, code=None).returncode

    for _ in each_step(number, checkout):
        copy = copies[-1]
        assert copy.read(MODEL) in (left, NEW)
        if number == "SIGINT":
            assert copy.git("status", "--porcelain", "--untracked-files") == ""
            assert drafts(copy) == []
        if sys.platform == "linux":
            # Killed between the last steps, the file may have another name; it is never there in part.
            assert all(left.read_bytes() == NEW for left in copy.path.glob(".git-theta-*"))
        unlock(copy)
        copy.theta("checkout")
        assert copy.read(MODEL) == NEW
        assert copy.git("status", "--porcelain", "--untracked-files=no") == ""


# Ctrl-C


def interrupt(repo: GitRepo, *command: str) -> int:
    """Run git as the leader of its process group, as a shell does; returns its exit code."""
    return subprocess.run(
        ["git", *command], cwd=repo.path, env=repo.env, capture_output=True, check=False, start_new_session=True
    ).returncode


@pytest.mark.parametrize("sent", points(14, 4, len(NEW)))
def test_ctrl_c_during_add_leaves_nothing(edited: GitRepo, sent: int) -> None:
    before = index_manifest(edited)
    intrude(edited, f"in:{sent}", CTRL_C)
    assert interrupt(edited, "add", MODEL) == -signal.SIGINT
    assert not (edited.path / ".git" / "index.lock").exists()
    assert index_manifest(edited) == before
    assert drafts(edited) == []
    check_add_again(edited)


@pytest.mark.parametrize("answered", points(15, 3, len(NEW)))
def test_ctrl_c_during_checkout_leaves_nothing(repo: GitRepo, answered: int) -> None:
    intrude(repo, f"out:{answered}", CTRL_C)
    assert interrupt(repo, "checkout", "new") == -signal.SIGINT
    assert not (repo.path / ".git" / "index.lock").exists()
    assert drafts(repo) == []
    check_checkout_again(repo)


# two at once


def beside(path: Path, *command: str) -> str:
    """A shell command that runs git in another worktree, free of what Git told its filter."""
    told = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    unset = [word for name in told for word in ("-u", name)]
    return shlex.join(
        ["env", *unset, "git", "-c", "filter.theta.process=git-theta filter-process", "-C", str(path), *command]
    )


@pytest.mark.parametrize("content", [NEW, model(2)], ids=["same content", "other content"])
@pytest.mark.parametrize("sent", points(16, 3, len(NEW)))
def test_two_adds_at_once_in_two_worktrees(edited: GitRepo, sent: int, content: bytes) -> None:
    edited.git("worktree", "add", "--quiet", "-b", "side", "../side")
    side = edited.at(edited.path.parent / "side")
    side.write(MODEL, content)
    intrude(edited, f"in:{sent}", beside(side.path, "add", MODEL))
    edited.git("add", MODEL)
    leave_alone(edited)
    assert restored(side) == content
    assert restored(edited) == NEW
    for worktree in (side, edited):
        worktree.git("commit", "-m", "both")
    assert "all good" in edited.theta("fsck")


def test_many_adds_at_once(edited: GitRepo) -> None:
    contents = [model(seed) for seed in (1, 1, 2, 2)]
    worktrees = []
    for number, content in enumerate(contents):
        edited.git("worktree", "add", "--quiet", "--detach", f"../w{number}")
        worktrees.append(edited.at(edited.path.parent / f"w{number}"))
        worktrees[-1].write(MODEL, content)
    running = [subprocess.Popen(["git", "add", MODEL], cwd=tree.path, env=tree.env) for tree in worktrees]
    assert [process.wait() for process in running] == [0] * 4
    for tree, content in zip(worktrees, contents, strict=True):
        assert restored(tree) == content
    assert "all good" in edited.theta("fsck")
    assert drafts(edited) == []


# the file changes meanwhile


def check_splice(found: bytes, old: bytes, new: bytes) -> None:
    """``found`` is what Git can have read: the old bytes up to some place, and from there the new ones or the end.

    A file saved in place is empty for a moment.
    """
    length = min(len(found), len(old))
    same = np.frombuffer(found[:length], "u1") == np.frombuffer(old[:length], "u1")
    place = length if same.all() else int(np.argmin(same))
    assert found[place:] in (new[place:], b"")


@pytest.mark.parametrize(
    "later",
    [model(2), model(2, extra=500_000), model(2)[:3_000_000], b"", bytes(5_000_000), OLD],
    ids=["same layout", "longer", "cut off", "emptied", "something else", "the version before"],
)
@pytest.mark.parametrize("sent", points(17, 3, len(NEW) - 200_000))
def test_a_file_saved_in_place_while_it_is_added(edited: GitRepo, sent: int, later: bytes) -> None:
    saved = edited.write("../later", later)
    intrude(edited, f"in:{sent}", f"cat {shlex.quote(str(saved))} > {MODEL}")
    edited.git("add", MODEL)
    leave_alone(edited)
    assert edited.read(MODEL) == later
    check_splice(staged(edited), NEW, later)
    check_add_again(edited, later) if later != OLD else edited.git("add", MODEL)


@pytest.mark.parametrize("sent", points(18, 3, len(NEW)))
def test_a_file_replaced_while_it_is_added(edited: GitRepo, sent: int) -> None:
    """As frameworks save: under another name, then renamed. Git has the file it began with."""
    saved = edited.write("../later", model(2))
    intrude(edited, f"in:{sent}", f"mv {shlex.quote(str(saved))} {MODEL}")
    edited.git("add", MODEL)
    leave_alone(edited)
    assert staged(edited) == NEW
    check_add_again(edited, model(2))


@pytest.mark.parametrize("sent", points(19, 4, len(NEW)))
def test_a_file_saved_in_place_while_a_group_that_begins_as_before_is_added(edited: GitRepo, sent: int) -> None:
    """The one case in which a group is read twice: where the second reading differs, the add is refused."""
    tail = bytearray(OLD)
    tail[4_700_000] ^= 1
    save_long_ago(edited, bytes(tail))
    before = index_manifest(edited)
    saved = edited.write("../later", NEW)
    intrude(edited, f"in:{sent}", f"cat {shlex.quote(str(saved))} > {MODEL}")
    done = edited.run("git", "add", MODEL, code=None)
    leave_alone(edited)
    if done.returncode == 0:
        check_splice(staged(edited), bytes(tail), NEW)
    else:
        assert b"changed while" in done.stderr
        assert b"hint: " in done.stderr
        assert index_manifest(edited) == before
    check_add_again(edited)


# no space


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def worktree_of_placeholders(repo: GitRepo, disk: Path) -> GitRepo:
    """A worktree of the new commit on the small disk."""
    skip = {"GIT_THETA_SKIP_SMUDGE": "1"}
    repo.run("git", "worktree", "add", "--quiet", "--detach", disk / "tree", "new", env=skip)
    return repo.at(disk / "tree")


def limited(kilobytes: int, *command: str) -> list[str]:
    """A command whose files may not grow beyond so many kilobytes: what a full disk is to everybody but root."""
    return ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash", *command]


def check_refused_add(repo: GitRepo, reason: str) -> None:
    """The add fails in words a user understands, and everything is as before."""
    before = index_manifest(repo)
    done = repo.run("git", "add", MODEL, code=128)
    line = next(line for line in done.stderr.decode().splitlines() if line.startswith("git-theta: "))
    assert line.startswith(f"git-theta: {MODEL}: ")
    assert reason in line
    assert b"hint: " in done.stderr
    assert index_manifest(repo) == before
    assert repo.read(MODEL) == NEW


def test_a_full_disk_during_add(edited: GitRepo, small_disk: Path) -> None:
    shutil.copytree(edited.path / ".git" / "theta", edited.path / ".git" / "theta-roomy")
    shutil.copytree(edited.path / ".git" / "theta", small_disk, dirs_exist_ok=True, ignore=lambda *_: ["objects"])
    edited.git("config", "theta.storage", str(small_disk))
    check_refused_add(edited, "No space left on device")
    assert list((small_disk / "tmp").glob("*")) == []
    edited.git("config", "--unset", "theta.storage")
    check_add_again(edited)


def test_a_limit_on_file_size_during_add(edited: GitRepo) -> None:
    edited.git("config", "filter.theta.process", "exec " + shlex.join(limited(1000, "git-theta", "filter-process")))
    check_refused_add(edited, "File too large")
    assert drafts(edited) == []
    check_add_again(edited)


def test_a_full_disk_during_checkout(repo: GitRepo, small_disk: Path) -> None:
    """Git itself writes here, and says so; the index still tells the truth, and room is all that is needed."""
    full = worktree_of_placeholders(repo, small_disk)
    (full.path / MODEL).unlink()
    done = full.run("git", "checkout", "--", MODEL, code=255)
    assert f"unable to write file {MODEL}" in done.stderr.decode()
    assert full.git("status", "--porcelain") == f" M {MODEL}"
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    full.git("checkout", "--", MODEL)
    assert full.read(MODEL) == NEW
    assert status(full) == ""


def test_a_full_disk_during_theta_checkout_keeps_the_old_file(repo: GitRepo, small_disk: Path) -> None:
    full = worktree_of_placeholders(repo, small_disk)
    left = full.read(MODEL)
    assert is_manifest(left)
    done = full.run("git", "theta", "checkout", code=1)
    assert b"No space left on device" in done.stderr
    assert b"hint: " in done.stderr
    assert full.read(MODEL) == left
    assert full.git("status", "--porcelain") == ""
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    full.theta("checkout")
    assert full.read(MODEL) == NEW


def test_a_limit_on_file_size_during_theta_checkout_keeps_the_old_file(repo: GitRepo) -> None:
    repo.run("git", "checkout", "--quiet", "new", env={"GIT_THETA_SKIP_SMUDGE": "1"})
    left = repo.read(MODEL)
    done = repo.run(*limited(1000, "git-theta", "checkout"), code=1)
    assert b"File too large" in done.stderr
    assert repo.read(MODEL) == left
    assert repo.git("status", "--porcelain") == ""
    repo.theta("checkout")
    assert repo.read(MODEL) == NEW
