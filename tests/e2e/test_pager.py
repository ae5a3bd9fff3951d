"""At a terminal, long answers go through the pager that Git would use; anywhere else nothing changes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import GitRepo, make_repository
from tests.e2e.support import MODEL, checkpoint, track_checkpoints

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")

MARK = "sed 's/^/paged: /'"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """Two commits of a model."""
    made = make_repository(tmp_path_factory.mktemp("pager"))
    track_checkpoints(made)
    for number in range(2):
        made.write(MODEL, checkpoint(c=number))
        made.commit()
    environment = {name: value for name, value in made.env.items() if name not in ("GIT_PAGER", "NO_COLOR")}
    return GitRepo(made.path, {**environment, "TERM": "xterm"})


def at_terminal(repo: GitRepo, *words: str, **env: str) -> str:
    """What a command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, cwd=repo.path, env={**repo.env, **env}, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = bytearray()
        while part := _read(ours):
            said += part
        os.close(ours)
    assert process.returncode == 0, said.decode()
    return said.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # how Linux says that the other end is closed
        return b""


@pytest.mark.parametrize("words", [["diff", "HEAD~1"], ["log", "--group", "c"], ["blame", MODEL], ["show", MODEL]])
def test_long_answers_go_through_the_pager(repo: GitRepo, words: list[str]) -> None:
    lines = at_terminal(repo, "git", "theta", *words, GIT_PAGER=MARK).splitlines()
    assert lines
    assert all(line.startswith("paged: ") for line in lines)


def test_a_report_keeps_its_colours_in_the_pager_unless_told_otherwise(repo: GitRepo) -> None:
    words = ("git", "-c", f"core.pager={MARK}", "-c", "pager.diff=true")
    shown = at_terminal(repo, *words, "theta", "diff", "HEAD~1")
    assert "paged: \x1b[" in shown
    plain = at_terminal(repo, *words, "-c", "color.pager=false", "theta", "diff", "HEAD~1")
    assert plain.startswith("paged: diff --theta")
    assert "\x1b[" not in plain


@pytest.mark.parametrize("options", [["--no-pager"], ["-c", "pager.diff=false"], ["-c", "pager.theta=false"]])
def test_git_can_be_told_to_use_no_pager(repo: GitRepo, options: list[str]) -> None:
    assert "paged" not in at_terminal(repo, "git", "-c", f"core.pager={MARK}", *options, "theta", "diff", "HEAD~1")


def test_the_pager_is_told_what_git_tells_it(repo: GitRepo) -> None:
    script = 'cat >/dev/null; echo "$LESS $LV $GIT_PAGER_IN_USE"'
    assert at_terminal(repo, "git", "theta", "diff", "HEAD~1", GIT_PAGER=script) == "FRX -c true\n"


def test_nothing_is_paged_or_coloured_into_a_pipe(repo: GitRepo) -> None:
    said = repo.at(repo.path, GIT_PAGER=MARK).theta("diff", "HEAD~1")
    assert said.startswith("diff --theta")
    assert "\x1b[" not in said


def test_whoever_leaves_the_pager_hears_nothing_more(repo: GitRepo, tmp_path: Path) -> None:
    # Longer than a pipe holds, so that the writer notices.
    import numpy as np
    from safetensors.numpy import save_file

    for name, start in (("a", 0), ("b", 1)):
        save_file({f"w{at}x": np.array([at + start], np.float32) for at in range(3000)}, tmp_path / name)
    names = [str(tmp_path / name) for name in "ab"]
    done = repo.at(repo.path, TERM="dumb").run("sh", "-c", f"git theta diff --expand {' '.join(names)} | head -1")
    assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")
    done = repo.run("sh", "-c", "git diff HEAD~1 | true")
    assert done.stderr == b""
