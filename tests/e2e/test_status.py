"""``git theta status`` about the remote: what is not on it, without asking it."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.e2e.conftest import GitRepo
from tests.e2e.support import MODEL, checkpoint, objects, stored_bytes, track_checkpoints


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


def test_a_conflict_is_named_with_the_way_out(repo: GitRepo) -> None:
    repo.theta("install")
    repo.theta("track", "*.bin")
    repo.write("model.bin", b"base" * 100)
    repo.commit("base")
    repo.git("checkout", "-q", "-b", "side")
    repo.write("model.bin", b"side" * 100)
    repo.commit("side")
    repo.git("checkout", "-q", "main")
    repo.write("model.bin", b"main" * 100)
    repo.commit("main")
    repo.git("merge", "side", code=1)
    said = repo.theta("status")
    assert "model.bin: both sides changed it" in said
    assert "git checkout --ours -- model.bin" in said
    assert json.loads(repo.theta("status", "--json"))["conflicts"] == ["model.bin"]


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
