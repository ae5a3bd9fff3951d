"""``git theta prune``: what is needed here, or nowhere else, stays; the rest goes and comes back from the remote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import GitRepo, make_repository, user_environment
from tests.e2e.support import (
    MODEL,
    is_manifest,
    objects,
    restored,
    status,
    track_checkpoints,
    unrelated,
)

OLD = 1_000_000_000


def oids(repo: GitRepo) -> set[str]:
    return {path.name for path in objects(repo)}


def age(repo: GitRepo) -> None:
    """Make every object old."""
    for path in objects(repo):
        os.utime(path, (OLD, OLD))


def forget_reflogs(repo: GitRepo) -> None:
    repo.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")


def add(repo: GitRepo, seed: int) -> set[str]:
    """Stage a version; returns its objects."""
    before = oids(repo)
    repo.write(MODEL, unrelated(seed))
    repo.git("add", MODEL)
    return oids(repo) - before


def prune(repo: GitRepo, *options: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(repo.theta("prune", "--json", *options))
    return report


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[GitRepo, set[str]]:
    """Two versions, both pushed to a bare remote, the second checked out; and the objects of the first."""
    work = track_checkpoints(make_repository(tmp_path_factory.mktemp("pristine")))
    work.git("init", "--quiet", "--bare", "../remote.git")
    work.git("remote", "add", "origin", "../remote.git")
    first = add(work, 1)
    work.git("commit", "-m", "one")
    add(work, 2)
    work.git("commit", "-m", "two")
    work.git("push", "--quiet", "-u", "origin", "main")
    forget_reflogs(work)
    age(work)
    return work, first


@pytest.fixture
def pushed(pristine: tuple[GitRepo, set[str]], tmp_path: Path) -> tuple[GitRepo, set[str]]:
    """A copy of that for one test. No reflog, nothing young."""
    work, first = pristine
    shutil.copytree(work.path.parent, tmp_path, symlinks=True, dirs_exist_ok=True)
    return GitRepo(tmp_path / "repo", user_environment(tmp_path / "home")), first


def test_what_is_pushed_and_not_in_use_goes_and_comes_back(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, first = pushed
    before = oids(repo)
    foretold = prune(repo, "--dry-run")
    assert oids(repo) == before
    report = prune(repo)
    assert (foretold.pop("dry_run"), report.pop("dry_run")) == (True, False)
    assert report == foretold
    assert set(report["removed"]) == first == before - oids(repo)
    assert report["bytes"] > 0
    assert set(report["kept"]) == {"checked out or staged"}
    assert restored(repo) == unrelated(2)
    repo.git("checkout", "--quiet", "HEAD~1")
    assert repo.read(MODEL) == unrelated(1)
    assert status(repo) == ""
    assert first <= oids(repo)


def test_it_tells_people_what_went_and_why_the_rest_stays(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, first = pushed
    add(repo, 3)
    said = repo.theta("prune", "--dry-run")
    assert f"would remove {len(first)} object" in said
    assert "checked out or staged" in said
    repo.git("commit", "-m", "three")
    forget_reflogs(repo)
    repo.git("checkout", "--quiet", "--detach", "origin/main")
    repo.git("reflog", "delete", "HEAD@{0}")
    assert "not on any remote" in repo.theta("prune")
    assert "removed 0 objects" in repo.theta("prune")


def staged(repo: GitRepo) -> None:
    """As it is: in the index, and nowhere else."""
    repo.write(MODEL, unrelated(2))


def stashed(repo: GitRepo) -> None:
    repo.git("stash")


def stashed_index_only(repo: GitRepo) -> None:
    repo.write(MODEL, unrelated(2))
    repo.git("stash")


def second_stash(repo: GitRepo) -> None:
    repo.git("stash")
    repo.write(MODEL, unrelated(9))
    repo.git("stash")


def reflog(repo: GitRepo) -> None:
    repo.git("commit", "-m", "three")
    repo.git("reset", "--quiet", "--hard", "HEAD~1")


def pushed_and_in_the_reflog(repo: GitRepo) -> None:
    repo.git("commit", "-m", "three")
    repo.git("push", "--quiet")
    repo.git("checkout", "--quiet", "HEAD~1")


def unpushed_branch(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "side")
    repo.git("commit", "-m", "three")
    repo.git("checkout", "--quiet", "main")
    forget_reflogs(repo)


def unpushed_under_a_pushed_looking_tip(repo: GitRepo) -> None:
    """The version is in an unpushed commit below one that goes back to a pushed version."""
    repo.git("commit", "-m", "three")
    repo.write(MODEL, unrelated(1))
    repo.commit("back")
    forget_reflogs(repo)


def unpushed_tag(repo: GitRepo) -> None:
    repo.git("commit", "-m", "three")
    repo.git("tag", "-a", "v3", "-m", "three")
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    forget_reflogs(repo)


def other_worktree(repo: GitRepo) -> None:
    repo.git("commit", "-m", "three")
    repo.git("push", "--quiet")
    repo.git("worktree", "add", "--quiet", "--detach", "../other")
    repo.git("checkout", "--quiet", "HEAD~1")
    forget_reflogs(repo)


def index_of_another_worktree(repo: GitRepo) -> None:
    repo.git("worktree", "add", "--quiet", "--detach", "../other")
    (repo.path.parent / "other" / MODEL).write_bytes(unrelated(3))
    repo.git("-C", "../other", "add", MODEL)
    repo.git("reset", "--quiet", "--hard")


def index_of_a_worktree_whose_folder_is_gone(repo: GitRepo) -> None:
    index_of_another_worktree(repo)
    shutil.rmtree(repo.path.parent / "other")


def autostash(repo: GitRepo) -> None:
    """A rebase that stopped keeps the stash in a file of its own, not in a ref."""
    repo.git("stash")
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.write("notes.txt", b"one\n")
    repo.commit("mine")
    repo.git("checkout", "--quiet", "main")
    repo.write("notes.txt", b"two\n")
    repo.commit("theirs")
    repo.git("checkout", "--quiet", "topic")
    repo.git("stash", "pop", "--quiet")
    repo.git("rebase", "--autostash", "main", code=1)
    forget_reflogs(repo)


def merge_of_a_commit_no_ref_has(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.git("commit", "-m", "three")
    repo.git("checkout", "--quiet", "main")
    repo.git("merge", "--no-commit", "--no-ff", "topic")
    repo.git("branch", "-D", "topic")
    repo.git("read-tree", "HEAD")
    forget_reflogs(repo)


def placeholder_of_a_dropped_stash(repo: GitRepo) -> None:
    """Too large for Git's memory, popped as a placeholder: the only trace of its version."""
    repo.git("stash")
    repo.git("config", "theta.smudgeLimit", "1k")
    repo.git("stash", "pop")
    assert is_manifest(repo.read(MODEL))
    forget_reflogs(repo)


SCENES: list[Callable[[GitRepo], None]] = [
    staged,
    stashed,
    stashed_index_only,
    second_stash,
    reflog,
    pushed_and_in_the_reflog,
    unpushed_branch,
    unpushed_under_a_pushed_looking_tip,
    unpushed_tag,
    other_worktree,
    index_of_another_worktree,
    index_of_a_worktree_whose_folder_is_gone,
    autostash,
    merge_of_a_commit_no_ref_has,
    placeholder_of_a_dropped_stash,
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_what_is_in_use_or_nowhere_else_stays(
    pushed: tuple[GitRepo, set[str]], scene: Callable[[GitRepo], None]
) -> None:
    repo, first = pushed
    third = add(repo, 3)
    assert third
    scene(repo)
    age(repo)
    prune(repo)
    assert third <= oids(repo)
    if scene is not unpushed_under_a_pushed_looking_tip:
        assert not first & oids(repo)  # it did something


def test_a_staged_version_that_was_pushed_long_ago_stays(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, first = pushed
    repo.git("checkout", "--quiet", "HEAD~1", "--", MODEL)
    repo.write(MODEL, unrelated(2))
    prune(repo)
    assert first <= oids(repo)


def test_without_a_remote_everything_reachable_stays_and_the_rest_goes(repo: GitRepo) -> None:
    track_checkpoints(repo)
    kept = add(repo, 1)
    repo.git("commit", "-m", "one")
    kept |= add(repo, 2)
    repo.git("commit", "-m", "two")
    gone = add(repo, 3)
    repo.git("reset", "--quiet", "--hard")
    age(repo)
    assert set(prune(repo)["removed"]) == gone
    assert oids(repo) == kept


def test_young_objects_stay_whoever_needs_them(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, first = pushed
    third = add(repo, 3)
    repo.git("reset", "--quiet", "--hard")
    report = prune(repo)
    assert set(report["removed"]) == first
    assert report["kept"]["young"]["objects"] == len(third)
    repo.git("config", "theta.pruneAge", "0")
    assert set(prune(repo)["removed"]) == third


def test_a_linked_worktree_prunes_for_all(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, first = pushed
    third = add(repo, 3)
    repo.git("worktree", "add", "--quiet", "../other", "HEAD")
    age(repo)
    other = repo.at(repo.path.parent / "other")
    assert set(prune(other)["removed"]) == first
    assert third <= oids(repo)
    assert restored(other) == unrelated(2)


def test_survives_worktree_remove_lfs_prune_and_gc(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, _ = pushed
    third = add(repo, 3)
    repo.git("commit", "-m", "three")
    repo.git("worktree", "add", "--quiet", "--detach", "../other")
    fourth_file = repo.path.parent / "other" / MODEL
    fourth_file.write_bytes(unrelated(4))
    repo.git("-C", "../other", "commit", "-am", "four")
    repo.git("tag", "four", repo.git("-C", "../other", "rev-parse", "HEAD"))
    before = oids(repo)
    repo.git("worktree", "remove", "--force", "../other")
    if shutil.which("git-lfs"):
        repo.git("lfs", "prune", "--force", "--no-verify-remote", code=None)
    repo.git("gc", "--quiet", "--prune=now")
    assert oids(repo) == before
    age(repo)
    prune(repo)
    assert third <= oids(repo)
    repo.git("checkout", "--quiet", "four")
    assert repo.read(MODEL) == unrelated(4)


def test_leftovers_go_by_their_age(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, _ = pushed
    store = repo.path / ".git" / "theta"
    (store / "corrupt").mkdir()
    for name in ("tmp/draft-old", "tmp/draft-young", "corrupt/old", "corrupt/young"):
        (store / name).write_bytes(b"x" * 10)
    two_days_ago = time.time() - 2 * 86_400
    os.utime(store / "tmp" / "draft-old", (two_days_ago, two_days_ago))
    os.utime(store / "corrupt" / "young", (two_days_ago, two_days_ago))
    os.utime(store / "corrupt" / "old", (OLD, OLD))
    report = prune(repo)
    assert [Path(path).name for path in report["leftovers"]] == ["draft-old", "old"]
    assert sorted(path.name for path in store.glob("[tc]*[pt]/*")) == ["draft-young", "young"]


def blended(repo: GitRepo, text: bytes) -> None:
    """Commit ``text`` as the model, as a host's merge button would, and push it."""
    blob = repo.git("hash-object", "-w", "--no-filters", "--stdin", stdin=text)
    repo.git("update-index", "--cacheinfo", f"100644,{blob},{MODEL}")
    repo.git("commit", "-m", "blended")


def test_a_damaged_manifest_keeps_what_it_mentions(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, first = pushed
    text = repo.run("git", "cat-file", "blob", f"HEAD~1:{MODEL}").stdout
    blended(repo, text.replace(b"\nroot ", b"\nroot 0", 1) + b"more\n")
    prune(repo)
    assert first <= oids(repo)


def test_a_manifest_of_a_newer_version_stops_it(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, _ = pushed
    text = repo.run("git", "cat-file", "blob", f"HEAD~1:{MODEL}").stdout
    version, _, rest = text.partition(b"\n")
    blended(repo, b"git-theta manifest 99\n" + rest)
    assert version.startswith(b"git-theta manifest ")
    before = oids(repo)
    said = repo.run("git", "theta", "prune", code=None)
    assert said.returncode != 0
    assert b"version 99" in said.stderr
    assert oids(repo) == before


def test_a_repository_that_lost_git_objects_stops_it(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, _ = pushed
    add(repo, 3)
    repo.git("commit", "-m", "three")
    blob = repo.git("rev-parse", f"HEAD:{MODEL}")
    add(repo, 4)
    repo.git("commit", "-m", "four")
    (repo.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    before = oids(repo)
    age(repo)
    said = repo.run("git", "theta", "prune", code=3)
    assert blob.encode() in said.stderr
    assert oids(repo) == before


def test_a_bare_repository_keeps_what_its_refs_name(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, _ = pushed
    bare = repo.at(repo.path.parent / "remote.git")
    before = oids(bare)
    stray = bare.path / "theta" / "objects" / "ab" / "cd" / ("abcd" + "0" * 60)
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"pushed by somebody whose push failed")
    shutil.rmtree(bare.path / "theta" / "used", ignore_errors=True)
    age(bare)
    assert prune(bare)["removed"] == [stray.name]
    assert oids(bare) == before


def test_what_a_push_brings_is_young_on_the_remote_however_old_it_is_here(pushed: tuple[GitRepo, set[str]]) -> None:
    """Prune over there, between the objects and the ref, must not take them."""
    repo, first = pushed
    bare = repo.at(repo.path.parent / "backup.git")
    repo.git("init", "--quiet", "--bare", bare.path)
    repo.theta("push", bare.path)
    assert first < oids(bare)
    assert prune(bare)["removed"] == []


class TestVerifyRemote:
    def test_what_the_remote_lacks_stays(self, pushed: tuple[GitRepo, set[str]]) -> None:
        repo, first = pushed
        bare = repo.at(repo.path.parent / "remote.git")
        lost = sorted(first)[0]
        (bare.path / "theta" / "objects" / lost[:2] / lost[2:4] / lost).unlink()
        report = prune(repo, "--verify-remote")
        assert set(report["removed"]) == first - {lost}
        assert report["kept"]["not on the remote after all"]["objects"] == 1
        assert "git theta push --all" in repo.theta("prune", "--verify-remote", "--dry-run")
        repo.theta("push", "--all")
        assert prune(repo, "--verify-remote")["removed"] == [lost]

    def test_a_damaged_copy_is_none(self, pushed: tuple[GitRepo, set[str]]) -> None:
        repo, first = pushed
        for oid in first:
            path = repo.path.parent / "remote.git" / "theta" / "objects" / oid[:2] / oid[2:4] / oid
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.unlink()  # a hard link to ours
            path.write_bytes(content)
        assert prune(repo, "--verify-remote")["removed"] == []
        assert first <= oids(repo)

    def test_one_remote_that_has_it_is_enough(self, pushed: tuple[GitRepo, set[str]]) -> None:
        repo, first = pushed
        repo.git("init", "--quiet", "--bare", "../backup.git")
        repo.git("remote", "add", "backup", "../backup.git")
        repo.git("push", "--quiet", "backup", "main")
        shutil.rmtree(repo.path.parent / "remote.git" / "theta" / "objects")
        age(repo)
        assert set(prune(repo, "--verify-remote")["removed"]) == first

    def test_a_remote_that_cannot_be_asked_stops_it(self, pushed: tuple[GitRepo, set[str]]) -> None:
        repo, _ = pushed
        before = oids(repo)
        repo.git("remote", "set-url", "origin", "http://127.0.0.1:1/nowhere.git")
        assert repo.run("git", "theta", "prune", "--verify-remote", code=None).returncode != 0
        assert oids(repo) == before


class TestSharedStore:
    @pytest.fixture
    def two(self, pushed: tuple[GitRepo, set[str]], tmp_path: Path) -> tuple[GitRepo, GitRepo]:
        """Two clones of one remote that share a store. Each has a version of its own, not pushed."""
        origin, _ = pushed
        clones = []
        for seed, name in ((5, "a"), (6, "b")):
            clone = origin.at(tmp_path / name)
            origin.git("-c", f"theta.storage={tmp_path / 'store'}", "clone", "--quiet", "../remote.git", clone.path)
            clone.git("config", "theta.storage", str(tmp_path / "store"))
            clone.write(MODEL, unrelated(seed))
            clone.commit("mine")
            clones.append(clone)
        self.age(tmp_path)
        return clones[0], clones[1]

    @staticmethod
    def age(folder: Path) -> set[str]:
        """Make the store old; returns the oids in it."""
        shutil.rmtree(folder / "store" / "used", ignore_errors=True)
        paths = [path for path in (folder / "store" / "objects").rglob("*") if path.is_file()]
        for path in paths:
            os.utime(path, (OLD, OLD))
        return {path.name for path in paths}

    def test_each_keeps_what_the_other_needs(self, two: tuple[GitRepo, GitRepo], tmp_path: Path) -> None:
        one, other = two
        prune(one)
        prune(other)
        for repo, seed in ((one, 5), (other, 6)):
            assert restored(repo) == unrelated(seed)
            assert status(repo) == ""

    def test_what_neither_needs_goes(self, two: tuple[GitRepo, GitRepo], tmp_path: Path) -> None:
        one, other = two
        before = self.age(tmp_path)
        other.git("reset", "--quiet", "--hard", "origin/main")
        other.git("update-ref", "-d", "ORIG_HEAD")
        forget_reflogs(other)
        removed = set(prune(one)["removed"])
        assert removed
        assert removed < before
        assert restored(other) == unrelated(2)
        assert restored(one) == unrelated(5)

    def test_it_stops_where_one_of_them_cannot_be_read(self, two: tuple[GitRepo, GitRepo], tmp_path: Path) -> None:
        one, other = two
        before = self.age(tmp_path)
        shutil.move(other.path, tmp_path / "elsewhere")
        said = one.run("git", "theta", "prune", code=1).stderr.decode()
        assert str(other.path / ".git") in said
        assert self.age(tmp_path) == before
        remedy = next(line for line in said.splitlines() if " rm " in line).partition(" rm ")[2]
        one.run("sh", "-c", f"rm {remedy}")
        assert prune(one)["removed"]

    def test_it_stops_where_this_one_is_not_registered(self, pushed: tuple[GitRepo, set[str]], tmp_path: Path) -> None:
        repo, _ = pushed
        shutil.copytree(repo.path / ".git" / "theta", tmp_path / "store")
        repo.git("config", "theta.storage", str(tmp_path / "store"))
        before = self.age(tmp_path)
        assert b"not registered" in repo.run("git", "theta", "prune", code=1).stderr
        assert self.age(tmp_path) == before
        repo.theta("track", "*.safetensors")
        assert prune(repo)["removed"]

    def test_a_bare_remote_in_the_same_store_is_registered_by_a_push(
        self, two: tuple[GitRepo, GitRepo], tmp_path: Path
    ) -> None:
        one, other = two
        bare = one.at(tmp_path / "bare.git")
        one.git("init", "--quiet", "--bare", bare.path)
        bare.git("config", "theta.storage", str(tmp_path / "store"))
        one.theta("fetch", "--all")
        one.git("push", "--quiet", bare.path, "main")
        one.git("reset", "--quiet", "--hard", "origin/main")
        forget_reflogs(one)
        self.age(tmp_path)
        prune(other)
        clone = one.at(tmp_path / "clone")
        one.git("clone", "--quiet", bare.path, clone.path)
        assert clone.read(MODEL) == unrelated(5)

    def test_the_repository_around_a_borrowed_store_is_asked_too(
        self, pushed: tuple[GitRepo, set[str]], tmp_path: Path
    ) -> None:
        owner, _ = pushed
        owner.write(MODEL, unrelated(7))
        owner.commit("the owner's own")
        guest = owner.at(tmp_path / "guest")
        owner.git(
            "-c", f"theta.storage={owner.path / '.git' / 'theta'}", "clone", "--quiet", "../remote.git", guest.path
        )
        guest.git("config", "theta.storage", str(owner.path / ".git" / "theta"))
        guest.write(MODEL, unrelated(8))
        guest.commit("the guest's own")
        shutil.rmtree(owner.path / ".git" / "theta" / "used", ignore_errors=True)
        age(owner)
        prune(guest)
        prune(owner)
        assert restored(owner) == unrelated(7)
        assert restored(guest) == unrelated(8)

    def test_git_s_environment_is_not_taken_for_the_other_repository_s(
        self, two: tuple[GitRepo, GitRepo], tmp_path: Path
    ) -> None:
        one, other = two
        one.run("git", "--git-dir", one.path / ".git", "--work-tree", one.path, "theta", "prune", cwd="..")
        assert restored(other) == unrelated(6)


def test_prune_beside_a_running_add_takes_nothing_that_add_names(pushed: tuple[GitRepo, set[str]]) -> None:
    repo, _ = pushed
    for seed in (1, 20, 1):
        content = unrelated(seed)
        repo.write(MODEL, content)
        running = [
            subprocess.Popen(["git", *words], cwd=repo.path, env=repo.env, stdout=subprocess.DEVNULL)
            for words in (["add", MODEL], ["theta", "prune"], ["theta", "prune"])
        ]
        assert [process.wait() for process in running] == [0, 0, 0]
        assert restored(repo) == content
    assert json.loads(repo.theta("fsck", "--json"))["findings"] == []
