"""Reports where something is odd: names, words, links, conflicts without a side, damage, places to write to."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.numpy import load, save

from tests.e2e.conftest import make_repository
from tests.e2e.support import MODEL, checkpoint, objects, track_checkpoints
from tests.e2e.transfer import duplicate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import GitRepo

ODD = "a\nb\x1b[31m.safetensors"
DASH = "-help.safetensors"
PLAIN = "plain.safetensors"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """A model, files with odd names, each changed once, a merge and a link; nobody writes to it but below .git."""
    repo = track_checkpoints(make_repository(tmp_path_factory.mktemp("odd")))
    for name in (MODEL, ODD, DASH, PLAIN):
        repo.write(name, checkpoint("abc"))
    (repo.path / "link.safetensors").symlink_to(MODEL)
    repo.commit("first")
    for name in (MODEL, ODD, DASH):
        repo.write(name, checkpoint("abc", c=1))
    (repo.path / PLAIN).unlink()
    (repo.path / PLAIN).symlink_to(ODD)
    (repo.path / "link.safetensors").unlink()
    (repo.path / "link.safetensors").symlink_to("else\x1b.safetensors")
    repo.commit("second")
    repo.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    repo.git("commit", "--allow-empty", "-m", "side\x1b[31m")
    repo.write(MODEL, checkpoint("abc", a=1))
    repo.commit("theirs")
    repo.git("merge", "--quiet", "--no-commit", "main", code=None)
    repo.write(MODEL, checkpoint("abc", a=1, b=2, c=1))
    repo.commit("merged")
    repo.git("checkout", "--quiet", "main")
    repo.write("../a.safetensors", checkpoint("ab"))
    repo.write("../b.safetensors", checkpoint("ab", b=1))
    return repo


def refused(repo: GitRepo, *args: str, code: int) -> str:
    """What a command that fails says."""
    done = repo.run("git", "theta", *args, code=code)
    assert b"unexpected" not in done.stderr
    return done.stderr.decode()


def files(repo: GitRepo, *args: str) -> list[dict[str, Any]]:
    """What the report for programs has."""
    found: list[dict[str, Any]] = json.loads(repo.theta("diff", "--format", "json", *args))["files"]
    return found


def test_names_reach_the_terminal_as_json_writes_them(odd: GitRepo) -> None:
    said = odd.theta("diff", "--name-only", "HEAD~1", "HEAD").splitlines()
    assert f"{json.dumps(ODD)}\tc" in said
    for command in (["diff", "HEAD~1", "HEAD"], ["log", "--group", "c", "--all"]):
        assert "\x1b" not in odd.theta(*command), command
    assert "second" in {row["subject"] for row in json.loads(odd.theta("blame", "--json", ODD))["groups"]}


def test_a_file_named_like_an_option_is_a_file_to_git_diff(odd: GitRepo) -> None:
    for form in (["diff", "HEAD~1", "HEAD"], ["diff", "-R", "HEAD~1"], ["show", "HEAD"], ["log", "-p", "-1"]):
        said = odd.git(*form, "--", DASH)
        assert "Usage" not in said
        assert DASH in said
        assert [line for line in said.splitlines() if "c " in line], form


def test_git_compares_files_outside_the_worktree(odd: GitRepo) -> None:
    said = odd.git("diff", "--no-index", "../a.safetensors", "../b.safetensors", code=1)
    assert "~ b" in said
    absolute = [str(odd.path.parent / name) for name in ("a.safetensors", "b.safetensors")]
    assert "~ b" in odd.git("diff", "--no-index", *absolute, code=1)


def test_more_than_two_versions_are_refused_in_one_line(odd: GitRepo) -> None:
    for words in (["side^!"], ["HEAD", "HEAD~1", "side"]):
        said = refused(odd, "diff", *words, code=2)
        assert "more than two versions" in said
        assert "MERGE^ MERGE" in said


def test_links_are_told_as_git_tells_them(odd: GitRepo) -> None:
    said = odd.theta("diff", "--exit-code", "HEAD~1", "HEAD", "--", "link.safetensors", code=1)
    assert f"- symbolic link to {MODEL}" in said
    assert '+ symbolic link to "else\\u001b.safetensors"' in said
    halves = odd.theta("diff", "HEAD~1", "HEAD", "--", PLAIN)
    assert f"diff --theta a/{PLAIN} /dev/null\ndeleted file mode 100644" in halves
    assert "new file mode 120000\n+ symbolic link to" in halves
    assert odd.git("diff", "HEAD~1", "HEAD", "--", "link.safetensors", PLAIN).count("symbolic link to") == 3
    assert "+ symbolic link to" in str([file["notes"] for file in files(odd, "HEAD~1", "HEAD")])


def test_options_that_exclude_each_other_are_refused(odd: GitRepo) -> None:
    assert "one side at a time" in refused(odd, "diff", "--base", "--ours", code=2)
    assert "--name-only" in refused(odd, "diff", "--name-only", "--format", "json", code=2)


def test_options_of_git_diff_are_handed_on(odd: GitRepo) -> None:
    between = ("HEAD~1", "HEAD", "--", MODEL)
    assert odd.theta("diff", "--quiet", *between, code=1) == ""
    assert odd.theta("diff", "--quiet", "HEAD", "HEAD") == ""
    assert odd.theta("diff", "-R", *between) == odd.theta("diff", "HEAD", "HEAD~1", "--", MODEL)
    assert odd.theta("diff", "--merge-base", "HEAD", "side", "--", MODEL) == odd.theta(
        "diff", "HEAD...side", "--", MODEL
    )


def test_inside_the_git_folder_commits_are_compared(odd: GitRepo) -> None:
    said = odd.theta("diff", "--name-only", "HEAD~1", "HEAD", cwd=".git")
    assert f"{MODEL}\tc" in said.splitlines()


def test_a_file_that_differs_in_no_group_is_named_alone(odd: GitRepo) -> None:
    assert PLAIN in odd.theta("diff", "--name-only", "HEAD~1", "HEAD").splitlines()


def test_what_git_refuses_comes_without_its_manual(odd: GitRepo) -> None:
    for words in ([f"HEAD:{MODEL}"], ["--cached", "HEAD", "HEAD~1"]):
        done = odd.run("git", "theta", "diff", *words, code=None)
        assert len(done.stderr.splitlines()) < 4, words
        assert done.returncode


def test_what_is_no_file_is_said_with_its_name(odd: GitRepo, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loose").symlink_to("nowhere")
    said = {
        "pipe": "no regular file",
        "loose": "a symbolic link to nowhere",
        ".": "a folder",
        "none": "there is no file",
    }
    for name, reason in said.items():
        told = refused(odd, "diff", "--no-index", MODEL, str(tmp_path / name), code=1)
        assert reason in told
        assert str(tmp_path) in told


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="no /proc here")
def test_a_file_of_the_system_is_named_too(odd: GitRepo) -> None:
    assert "/proc/version cannot be read as a file" in refused(
        odd, "diff", "--no-index", MODEL, "/proc/version", code=1
    )


def test_a_report_goes_over_no_checkpoint(odd: GitRepo, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(checkpoint("ab"))
    (tmp_path / "alias").symlink_to(odd.path / MODEL)
    before = odd.read(MODEL)
    for target in (MODEL, str(tmp_path / "alias"), "new.safetensors"):
        assert "is a checkpoint" in refused(odd, "diff", "HEAD~1", "-o", target, code=2)
    compared = ("diff", "--no-index", MODEL, str(other), "-o", str(other))
    assert "is a checkpoint" in refused(odd, *compared, code=2)
    assert (odd.read(MODEL), other.read_bytes()) == (before, checkpoint("ab"))
    assert "--output" in refused(odd, "diff", "-o", "", code=2)
    assert str(tmp_path) in refused(odd, "diff", "HEAD~1", "-o", str(tmp_path), code=1)
    assert str(tmp_path / "no") in refused(odd, "diff", "HEAD~1", "-o", str(tmp_path / "no" / "report"), code=1)
    assert odd.theta("diff", "HEAD~1", "-o", "-") == odd.theta("diff", "HEAD~1")


@pytest.fixture(scope="module")
def conflict(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """A merge in which we deleted the model and they changed it."""
    repo = track_checkpoints(make_repository(tmp_path_factory.mktemp("conflict")))
    repo.write(MODEL, checkpoint("abc"))
    repo.commit("first")
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.write(MODEL, checkpoint("abc", c=1))
    repo.commit("theirs")
    repo.git("checkout", "--quiet", "main")
    repo.git("rm", "--quiet", MODEL)
    repo.git("commit", "-m", "gone")
    repo.git("merge", "--quiet", "topic", code=1)
    return repo


def test_a_side_that_deleted_the_file_is_compared_too(conflict: GitRepo) -> None:
    assert "3 added" in conflict.theta("diff", "--ours")
    assert "~ c" in conflict.theta("diff", "--base")
    assert "3 unchanged" in conflict.theta("diff", "--theirs")
    for side in ("ours", "base", "theirs"):
        (file,) = files(conflict, f"--{side}")
        assert file["notes"] == [f"* Unmerged path {MODEL}: {side} compared with the worktree"]
        assert "Unmerged path" in conflict.theta("diff", f"--{side}", "--format", "markdown")
        conflict.theta("diff", f"--{side}", "--exit-code", code=1)
    conflict.theta("diff", "--cached", "--exit-code", code=1)
    assert conflict.theta("diff", "--cached").endswith(f"* Unmerged path {MODEL}")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """Three commits of a model; the manifest of the second is cut short."""
    repo = track_checkpoints(make_repository(tmp_path_factory.mktemp("damaged")))
    repo.write(MODEL, checkpoint("abc"))
    repo.commit("first")
    text = repo.run("git", "cat-file", "blob", f"HEAD:{MODEL}").stdout
    blob = repo.git("hash-object", "-w", "--stdin", stdin=text[: len(text) // 2])
    repo.git("update-index", "--cacheinfo", f"100644,{blob},{MODEL}")
    repo.git("commit", "-m", "damaged")
    repo.write(MODEL, checkpoint("abc", c=1))
    repo.commit("third")
    repo.write(MODEL, checkpoint("abc", c=2))
    repo.commit("fourth")
    return repo


def test_a_damaged_manifest_in_history_is_named_and_stops_no_log(damaged: GitRepo) -> None:
    said = refused(damaged, "diff", "--cached", "HEAD~2", code=4)
    blob = damaged.git("rev-parse", f"HEAD~2:{MODEL}")
    assert f"{MODEL} in blob {blob[:10]}: " in said
    assert f"--find-object={blob}" in said
    done = damaged.run("git", "theta", "log", "--group", "c")
    assert b"fourth" in done.stdout
    assert b"first" in done.stdout
    assert damaged.git("rev-parse", "--short=10", "HEAD~2").encode() in done.stderr
    told = refused(damaged, "blame", MODEL, "HEAD~2", code=4)
    assert f"{MODEL} in HEAD~2: " in told
    assert "PATH" not in said + told + done.stderr.decode()


def test_a_damaged_manifest_hides_no_other_file(damaged: GitRepo, tmp_path: Path) -> None:
    repo = duplicate(damaged, tmp_path)
    repo.write("other.safetensors", checkpoint("abc"))
    repo.git("add", "other.safetensors")
    done = repo.run("git", "theta", "diff", "--cached", "HEAD~2", code=4)
    assert b"3 added" in done.stdout
    assert b"is damaged" in done.stderr


def test_what_git_itself_stored_before_is_said(tmp_path: Path) -> None:
    repo = make_repository(tmp_path)
    repo.write(MODEL, checkpoint("abc"))
    repo.commit("whole")
    repo.git("tag", "whole")
    track_checkpoints(repo)
    repo.git("add", "--renormalize", ".")
    repo.git("commit", "--message", "by its groups", "--allow-empty")
    said = "Git itself stored the whole file before"
    assert said in repo.theta("diff", "whole", "HEAD", "--", MODEL)
    assert said in repo.git("diff", "whole", "HEAD", "--", MODEL)


def test_metadata_that_cannot_be_read_is_not_called_equal(tmp_path: Path) -> None:
    repo = track_checkpoints(make_repository(tmp_path))
    arrays = load(checkpoint("abc"))
    for version in ("1", "2"):
        repo.write(MODEL, save(arrays, {"version": version, "padding": "p" * 5000}))
        repo.commit(version)
    for path in objects(repo):
        path.unlink()
    said = repo.theta("diff", "HEAD~1", "HEAD")
    assert "its values cannot be read here" in said
    assert "hint: git theta fetch" in said
    assert '"values_unread": true' in repo.theta("diff", "HEAD~1", "HEAD", "--format", "json")


def test_a_file_is_new_where_it_was_first_tracked(damaged: GitRepo) -> None:
    assert "3 added" in damaged.theta("diff", "HEAD~4", "HEAD~3")


def test_content_that_is_the_same_is_said_to_be_stored_otherwise(tmp_path: Path) -> None:
    repo = track_checkpoints(make_repository(tmp_path))
    repo.write(MODEL, checkpoint("abc"))
    repo.commit("first")
    repo.write(MODEL, checkpoint("abc", c=1))
    repo.commit("second")
    for path in objects(repo):
        path.chmod(0o644)
        path.unlink()
    os.utime(repo.path / MODEL, (1, 1))
    said = repo.git("diff")
    assert "the same content" in said
