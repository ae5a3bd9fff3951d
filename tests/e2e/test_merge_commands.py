"""``git theta merge`` of any number of branches, ``merge-file`` outside of repositories, ``resolve`` at a terminal."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from tests.e2e.conftest import GitRepo, make_repository
from tests.e2e.support import MODEL, checkpoint, noise, objects, status, track_checkpoints
from tests.e2e.transfer import duplicate


def mean(*seeds: int) -> NDArray[np.float32]:
    """The mean of versions of group c in float64, rounded once."""
    found: NDArray[np.float32] = np.mean([noise("c", s).astype(np.float64) for s in seeds], axis=0).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def branches(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """Branches main, math and code: all changed c, each another group and a text besides."""
    repo = track_checkpoints(make_repository(tmp_path_factory.mktemp("branches")))
    repo.write(MODEL, checkpoint())
    repo.commit("base")
    for seed, (branch, group) in enumerate([("math", "d"), ("code", "e"), ("main", "a")], 2):
        repo.git("checkout", "--quiet", *(["-b", branch, "main"] if branch != "main" else ["main"]))
        repo.write(MODEL, checkpoint("abcdef", **{"c": seed, group: 1}))
        repo.write(f"{branch}.txt", branch.encode())
        repo.commit(branch)
    return repo


@pytest.fixture
def repo(branches: GitRepo, tmp_path: Path) -> GitRepo:
    """A copy of it for one test."""
    return duplicate(branches, tmp_path)


def check_untouched(repo: GitRepo) -> None:
    assert repo.git("log", "-1", "--format=%s") == "main"
    assert repo.read(MODEL) == checkpoint(c=4, a=1)
    assert repo.git("status", "--porcelain") == ""
    assert len(repo.git("worktree", "list").splitlines()) == 1


def test_three_branches_in_one_commit(repo: GitRepo) -> None:
    said = repo.theta("merge", "math", "code")
    assert "combined        1  average: c" in said
    parents = repo.git("log", "-1", "--format=%P").split()
    assert parents == repo.git("rev-parse", "main~1", "math", "code").splitlines()
    assert repo.read(MODEL) == save({**load(checkpoint(a=1, d=1, e=1)), "c": mean(4, 2, 3)})
    assert [repo.read(f"{name}.txt").decode() for name in ("main", "math", "code")] == ["main", "math", "code"]
    assert status(repo) == ""
    assert len(repo.git("worktree", "list").splitlines()) == 1


def test_weights_are_of_the_current_branch_first(repo: GitRepo) -> None:
    repo.theta("merge", "math", "code", "--strategy", "linear", "--weights", "1,0,0")
    assert load(repo.read(MODEL))["c"].tobytes() == noise("c", 4).tobytes()


def test_weights_that_count_for_nothing_are_said(repo: GitRepo) -> None:
    for strategy, said in (("nearswap", True), ("average", False)):
        done = repo.run("git", "theta", "merge", "math", "--dry-run", "--strategy", strategy, "--weights", "3,1")
        assert (b"--weights count for nothing with nearswap" in done.stderr) is said


def test_a_dry_run_changes_nothing(repo: GitRepo) -> None:
    before = objects(repo)
    said = [" ".join(line.split()) for line in repo.theta("merge", "math", "code", "--dry-run").splitlines()]
    assert {"unchanged 2", "ours 1 a", "math 1 d", "code 1 e", "combined 1 average: c"} <= set(said)
    assert any(line.startswith("possible conflict") for line in said)
    check_untouched(repo)
    assert objects(repo) == before


def test_a_test_sees_the_merged_files_and_decides(repo: GitRepo) -> None:
    done = repo.run("git", "theta", "merge", "math", "code", "--test", "exit 3", code=1)
    assert b"exited with 3" in done.stderr
    check_untouched(repo)
    repo.theta("merge", "math", "code", "--test", f'cp "$1" {shlex.quote(str(repo.path / "seen"))}; test -f code.txt')
    assert repo.read("seen") == repo.read(MODEL)


def test_what_a_killed_merge_left_is_removed_by_the_next(repo: GitRepo) -> None:
    """The test kills the merge that runs it, as the system would when memory is short."""
    done = repo.run("git", "theta", "merge", "math", "code", "--test", "kill -9 $PPID", code=None)
    assert done.returncode
    left = list((repo.path / ".git").glob("theta-merge-*"))
    assert left
    repo.git("worktree", "lock", str(left[0] / "worktree"))  # as Git does while it makes one
    assert len(repo.git("worktree", "list").splitlines()) == 2
    repo.theta("merge", "math", "--test", f"ls -d {shlex.quote(str(left[0]))}; test $? -ne 0")
    assert len(repo.git("worktree", "list").splitlines()) == 1
    assert not list((repo.path / ".git").glob("theta-merge-*"))


def test_what_each_branch_changed_alone_is_a_possible_conflict(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "still", "main~1")
    repo.git("commit", "--quiet", "--allow-empty", "-m", "still")
    assert "possible conflict" in repo.theta("merge", "math", "code", "--dry-run", "--group", "c=base")


def test_a_dry_run_foretells_what_git_cannot_merge(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "without", "main~1")
    repo.git("rm", "--quiet", MODEL)
    repo.commit("without")
    for option in (["--dry-run"], []):
        done = repo.run("git", "theta", "merge", "math", *option, code=1)
        assert f"math conflicts in {MODEL}".encode() in done.stderr


def test_an_untracked_file_in_the_way_is_named_and_stays(repo: GitRepo) -> None:
    repo.write("math.txt", b"mine")
    done = repo.run("git", "theta", "merge", "math", code=1)
    assert b"math.txt is not tracked" in done.stderr
    assert repo.read("math.txt") == b"mine"
    assert repo.git("log", "-1", "--format=%s") == "main"


def test_conflicts_change_nothing(repo: GitRepo) -> None:
    done = repo.run("git", "theta", "merge", "math", "code", "--strategy", "conflict", code=1)
    assert b"both sides changed it: c" in done.stderr
    check_untouched(repo)
    repo.git("checkout", "--quiet", "math")
    repo.write("main.txt", b"another")
    repo.commit("text")
    repo.git("checkout", "--quiet", "main")
    done = repo.run("git", "theta", "merge", "math", code=1)
    assert b"math conflicts in main.txt" in done.stderr
    check_untouched(repo)


def test_uncommitted_changes_are_refused(repo: GitRepo) -> None:
    repo.write("main.txt", b"changed")
    done = repo.run("git", "theta", "merge", "math", code=1)
    assert b"main.txt has uncommitted changes" in done.stderr
    assert repo.read("main.txt") == b"changed"


def test_a_branch_that_is_ahead_is_a_fast_forward_and_one_behind_is_nothing(repo: GitRepo) -> None:
    repo.git("branch", "ahead")
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    repo.theta("merge", "ahead")
    assert repo.git("rev-parse", "HEAD") == repo.git("rev-parse", "ahead")
    assert "Already up to date" in repo.theta("merge", "ahead")
    assert repo.run("git", "theta", "merge", "nowhere", code=1).stderr.startswith(b"git-theta: 'nowhere' is no branch")


def test_only_branches_that_are_no_part_of_another_are_merged(repo: GitRepo) -> None:
    """Otherwise what was merged before would pull again on what came after it."""
    repo.git("checkout", "--quiet", "-b", "further", "math")
    repo.write(MODEL, checkpoint("abcdef", c=9, d=1))
    repo.commit("further")
    repo.git("checkout", "--quiet", "main")
    repo.git("merge", "--quiet", "-X", "ours", "math")
    repo.write(MODEL, checkpoint("abcdef", c=5, a=1, d=1))
    repo.commit("trained on")
    done = repo.run("git", "theta", "merge", "code", "math", "code", "main")
    assert b"math is a part of what is merged already" in done.stderr
    assert repo.git("log", "-1", "--format=%P").split() == repo.git("rev-parse", "main~1", "code").splitlines()
    assert repo.read(MODEL) == save({**load(checkpoint(a=1, d=1, e=1)), "c": mean(5, 3)})


def test_of_branches_that_share_a_step_the_later_one_counts(repo: GitRepo) -> None:
    """Theirs went on from where another branch still is; and a current branch behind a branch follows it."""
    repo.git("checkout", "--quiet", "-b", "later", "math")
    repo.write(MODEL, checkpoint("abcdef", c=9, d=1))
    repo.commit("later")
    repo.git("checkout", "--quiet", "-b", "beside", "math")
    repo.write(MODEL, checkpoint("abcdef", c=2, d=1, b=1))
    repo.commit("beside")
    repo.git("checkout", "--quiet", "main~1")
    repo.theta("merge", "beside", "later")
    assert repo.read(MODEL) == checkpoint("abcdef", b=1, c=9, d=1)
    assert repo.git("log", "-1", "--format=%P").split() == repo.git("rev-parse", "beside", "later").splitlines()


# outside of repositories


def test_merge_file(tmp_path: Path, branches: GitRepo) -> None:
    for name, content in (("base", checkpoint()), ("ours", checkpoint(a=1, c=4)), ("theirs", checkpoint(c=2, d=1))):
        (tmp_path / name).write_bytes(content)
    outside = branches.at(tmp_path)
    outside.theta("merge-file", "base", "ours", "theirs", "-o", "merged")
    assert (tmp_path / "merged").read_bytes() == save({**load(checkpoint(a=1, d=1)), "c": mean(4, 2)})
    done = outside.run(
        "git", "theta", "merge-file", "base", "ours", "theirs", "-o", "merged", "--strategy", "conflict", code=1
    )
    assert b"ours stands" in done.stderr
    assert (tmp_path / "merged").read_bytes() == checkpoint(a=1, c=4, d=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "merged", "ours", "theirs"]


HANGING = """
import sys, threading
from git_theta.merge.strategy import Strategy
def hang(task):
    print("hanging", file=sys.stderr, flush=True)
    threading.Event().wait()
HANG = Strategy("hang", hang, "never ends")
"""


def test_an_interrupt_does_not_wait_for_a_strategy_that_hangs(tmp_path: Path, branches: GitRepo) -> None:
    for name, content in (("base", checkpoint()), ("ours", checkpoint(c=4)), ("theirs", checkpoint(c=2))):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "hanging.py").write_text(HANGING)
    (tmp_path / "hanging-1.dist-info").mkdir()
    (tmp_path / "hanging-1.dist-info" / "entry_points.txt").write_text("[git_theta.merges]\nhang = hanging:HANG\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = ["git-theta", "merge-file", "base", "ours", "theirs", "-o", "merged", "--strategy", "hang"]
    with subprocess.Popen(
        command, cwd=tmp_path, env={**branches.env, "PYTHONPATH": path}, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == b"hanging\n"
        process.send_signal(signal.SIGINT)
        assert b"interrupted" in process.stderr.read()
    assert process.returncode == 130
    assert not (tmp_path / "merged").exists()


def test_fisher_diagonals_come_from_files(repo: GitRepo, tmp_path: Path) -> None:
    """What theirs is sure of and ours is not is theirs."""
    certain, doubtful = np.ones(4096, np.float32), np.zeros(4096, np.float32)
    for name, value in (("ours", doubtful), ("theirs", certain)):
        (tmp_path / name).write_bytes(save({"c": value}))
    repo.git("-c", "theta.merge=conflict", "merge", "math", code=1)
    files = [f"--fisher-{name}={tmp_path / name}" for name in ("ours", "theirs")]
    repo.theta("resolve", "--strategy", "fisher", *files)
    assert repo.read(MODEL) == checkpoint(a=1, c=2, d=1)
    done = repo.run("git", "theta", "resolve", "--strategy", "fisher", code=1)
    assert b"no tracked checkpoint is unmerged" in done.stderr


# at a terminal


def typed(repo: GitRepo, command: list[str], lines: str) -> str:
    """What a terminal shows while ``command`` runs in it and ``lines`` are typed."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(repo.path)
        os.execvpe(command[0], command, repo.env)
    os.write(terminal, lines.encode())
    shown = bytearray()
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    os.waitpid(child, 0)
    return shown.decode(errors="replace")


def test_resolving_at_a_terminal(repo: GitRepo) -> None:
    repo.git("-c", "theta.merge=conflict", "merge", "math", code=1)
    shown = typed(repo, ["git", "theta", "resolve"], "1 theirs\nundo\nnonsense\nc ours\ndone\n")
    assert "float32 [4096]" in shown
    assert "ours 100" in shown
    assert "no merge strategy is called 'nonsense'" in shown
    assert repo.read(MODEL) == checkpoint(a=1, c=4, d=1)
    assert repo.git("ls-files", "--unmerged") == ""


def test_what_was_chosen_at_a_terminal_can_be_seen_and_chosen_again(repo: GitRepo) -> None:
    repo.git("-c", "theta.merge=conflict", "merge", "math", code=1)
    shown = typed(repo, ["git", "theta", "resolve"], "help\n1\nc fisher\n1 theirs\nlist\n1 ours\ndone\n")
    assert shown.count("Type WHICH CHOICE") == 2
    assert "1 what? For example: 1 ours" in shown
    assert "no files have its Fisher diagonals" in shown
    assert "= theirs" in shown
    assert repo.read(MODEL) == checkpoint(a=1, c=4, d=1)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")


def test_leaving_the_terminal_writes_nothing(repo: GitRepo) -> None:
    repo.git("-c", "theta.merge=conflict", "merge", "math", code=1)
    assert "nothing was written" in typed(repo, ["git", "theta", "resolve"], "1 theirs\nquit\n")
    assert len(repo.git("ls-files", "--unmerged").splitlines()) == 3


def test_a_merge_that_asks(repo: GitRepo) -> None:
    typed(repo, ["git", "-c", "theta.merge=ask", "merge", "math"], "theirs\ndone\n")
    assert repo.read(MODEL) == checkpoint(a=1, c=2, d=1)
