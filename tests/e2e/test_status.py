"""``git theta status`` about the remote: what is not on it, without asking it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import GitRepo, make_repository
from tests.e2e.support import MODEL, checkpoint, objects, stored_bytes, track_checkpoints
from tests.e2e.transfer import duplicate


@pytest.fixture
def work(repo: GitRepo) -> GitRepo:
    """One version committed, and a remote that has nothing yet."""
    track_checkpoints(repo)
    repo.git("init", "--quiet", "--bare", "../remote.git")
    repo.write(MODEL, checkpoint("ab"))
    repo.commit("one")
    repo.git("remote", "add", "origin", "../remote.git")
    return repo


def not_pushed(repo: GitRepo, *pathspec: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(repo.theta("status", "--json", *pathspec))["not_pushed"]
    return found


def test_counts_what_a_push_would_send_and_says_how(work: GitRepo) -> None:
    assert not_pushed(work) == {"remote": "origin", "objects": len(objects(work)), "bytes": stored_bytes(work)}
    said = work.theta("status")
    assert f"{len(objects(work))} object" in said
    assert "of local commits not on origin" in said
    assert "git push" in said
    assert "git theta push origin" in said
    work.git("push", "--quiet", "-u", "origin", "main")
    assert not_pushed(work) is None
    assert "origin" not in work.theta("status")


def test_counts_only_what_is_new(work: GitRepo) -> None:
    work.git("push", "--quiet", "-u", "origin", "main")
    before = len(objects(work))
    work.write(MODEL, checkpoint("ab", b=1))
    work.commit("two")
    found = not_pushed(work)
    assert found is not None
    assert 0 < found["objects"] == len(objects(work)) - before


def test_counts_every_branch_and_tag(work: GitRepo) -> None:
    work.git("push", "--quiet", "-u", "origin", "main")
    work.git("checkout", "--quiet", "-b", "side")
    work.write(MODEL, checkpoint("ab", a=1))
    work.commit("side")
    work.git("checkout", "--quiet", "--detach")
    work.write(MODEL, checkpoint("ab", a=2))
    work.commit("tagged")
    work.git("tag", "v1")
    work.git("checkout", "--quiet", "main")
    found = not_pushed(work)
    assert found is not None
    assert found["objects"] >= 2


def test_staged_is_not_yet_to_be_pushed(work: GitRepo) -> None:
    work.git("push", "--quiet", "-u", "origin", "main")
    work.write(MODEL, checkpoint("ab", a=1))
    work.git("add", MODEL)
    assert not_pushed(work) is None


def test_says_nothing_of_remotes_where_there_is_none_or_one_path_is_asked_about(work: GitRepo) -> None:
    assert not_pushed(work, MODEL) is None
    work.git("remote", "remove", "origin")
    assert not_pushed(work) is None


def test_a_mirror_does_not_know_what_is_there(work: GitRepo) -> None:
    work.git("push", "--quiet", "-u", "origin", "main")
    work.git("clone", "--quiet", "--mirror", "../remote.git", "../mirror.git")
    assert not_pushed(work.at(work.path.parent / "mirror.git")) is None


def test_a_deleted_file_can_come_back_or_go(work: GitRepo) -> None:
    (work.path / MODEL).unlink()
    said = work.theta("status")
    assert "deleted\n" in said
    assert "git commit" not in said
    assert f"to get back what was deleted: git theta checkout {MODEL}" in said
    work.theta("checkout", MODEL)
    work.write(MODEL, checkpoint("ab", a=1))
    work.git("add", MODEL)
    (work.path / MODEL).unlink()
    said = work.theta("status")
    assert "changed, then deleted" in said
    assert f"to record that it is gone: git rm {MODEL}" in said
    work.git("rm", "--quiet", MODEL)
    assert "git commit" not in work.theta("status")


def test_asks_no_network(work: GitRepo) -> None:
    work.git("push", "--quiet", "-u", "origin", "main")
    shutil.rmtree(work.path.parent / "remote.git")
    assert not_pushed(work) is None
    work.git("remote", "set-url", "origin", "http://127.0.0.1:1/nowhere.git")
    assert not_pushed(work) is None


def test_a_repository_without_a_commit_has_nothing_to_push(repo: GitRepo) -> None:
    repo.theta("install", "--global")
    repo.theta("track", "*.safetensors")
    repo.git("remote", "add", "origin", "../remote.git")
    assert not_pushed(repo) is None


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """A merge in which both sides changed one file, and one side deleted what the other changed."""
    repo = track_checkpoints(make_repository(tmp_path_factory.mktemp("stopped")))
    for name in ("both.bin", "kept.bin", "gone.bin"):
        repo.write(f"models/{name}", b"base" * 100)
    repo.theta("track", "*.bin")
    repo.commit("base")
    repo.git("checkout", "-q", "-b", "side")
    for side, changed, deleted in (("side", "gone.bin", "kept.bin"), ("main", "kept.bin", "gone.bin")):
        repo.git("checkout", "-q", side)
        for name in ("both.bin", changed):
            repo.write(f"models/{name}", side.encode() * 100)
        (repo.path / "models" / deleted).unlink()
        repo.commit(side)
    repo.git("merge", "side", code=1)
    return repo


@pytest.fixture
def conflict(stopped: GitRepo, tmp_path: Path) -> GitRepo:
    """A copy of it for one test."""
    return duplicate(stopped, tmp_path)


def test_a_conflict_is_named_with_the_way_out(conflict: GitRepo) -> None:
    said = conflict.theta("status", cwd="models")
    assert "  both.bin: both sides changed it, not resolved yet" in said
    assert "  kept.bin: only ours still has it, not resolved yet" in said
    assert "  gone.bin: only theirs still has it, not resolved yet" in said
    assert said.index("git theta resolve both.bin") < said.index("git checkout --ours -- both.bin")
    assert "git add -- gone.bin keeps it, git rm -- gone.bin deletes it" in said
    assert "git theta resolve" not in conflict.theta("status", "models/gone.bin")
    found = json.loads(conflict.theta("status", "--json"))["conflicts"]
    assert found == ["models/both.bin", "models/gone.bin", "models/kept.bin"]


def test_every_way_out_that_is_named_ends_the_conflict(conflict: GitRepo) -> None:
    conflict.git("add", "--", "models/kept.bin")
    conflict.git("rm", "-q", "--", "models/gone.bin")
    assert json.loads(conflict.theta("status", "--json"))["conflicts"] == ["models/both.bin"]
    conflict.theta("resolve", "models/both.bin", "--theirs")
    assert json.loads(conflict.theta("status", "--json"))["conflicts"] == []
    assert conflict.read("models/both.bin") == b"side" * 100


def test_pull_names_conflicts_and_how_to_end_them(conflict: GitRepo) -> None:
    said = conflict.run("git", "theta", "pull").stderr.decode().splitlines()
    assert said[0] == (
        "git-theta: models/both.bin: both sides changed it, not resolved yet: git theta resolve models/both.bin"
    )
    assert [line.split(":")[1] for line in said] == [" models/both.bin", " models/gone.bin", " models/kept.bin"]
    named = conflict.run("git", "theta", "pull", "both.bin", cwd="models").stderr.decode()
    assert named.endswith("git theta resolve both.bin\n")
    conflict.git("merge", "--abort")
    assert conflict.run("git", "theta", "pull").stderr == b""


def test_paths_are_as_one_types_them_in_the_current_folder(repo: GitRepo) -> None:
    repo.theta("install")
    repo.theta("track", "*.bin")
    repo.write("top.bin", b"top" * 100)
    repo.commit("top")
    repo.write("sub/new one.bin", b"new" * 100)
    said = repo.theta("status", cwd="sub")
    assert "../top.bin" in said
    assert "git add 'new one.bin'" in said


def test_without_drivers_the_advice_is_to_install_them(repo: GitRepo) -> None:
    repo.theta("install")
    repo.theta("track", "*.bin")
    repo.write("model.bin", b"model" * 100)
    repo.commit("model")
    repo.theta("uninstall")
    repo.write("model.bin", b"other" * 100)
    said = repo.theta("status")
    assert said.endswith("git theta install --local")
    assert "git add" not in said
