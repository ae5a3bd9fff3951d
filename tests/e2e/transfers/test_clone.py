"""Getting checkpoints: clone, pull, fetch and checkout bring what is written, in one batch, or leave what can wait."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import GitRepo, user_environment
from tests.e2e.lfs_server import BATCH, OBJECT, Host
from tests.e2e.support import MODEL, checkpoint, is_manifest, noise, object_path, objects, status
from tests.e2e.transfer import (
    SKIP,
    attempt,
    bare,
    change,
    check_placeholder,
    check_whole,
    clone,
    oids,
    start,
    there,
)

NAMES = tuple(f"models/{number}.safetensors" for number in range(10))


def large(seed: int) -> bytes:
    """A checkpoint whose two parts are objects of their own."""
    from safetensors.numpy import save

    groups = {f"{part}.{name}": noise(f"{part}.{name}", seed, 400_000) for part in ("encoder", "head") for name in "ab"}
    content: bytes = save(groups)
    return content


@pytest.fixture
def remote(repo: GitRepo, host: Host) -> str:
    """A checkpoint of one commit on a host, pushed from ``repo``."""
    return publish(repo, host)


@pytest.fixture
def many(repo: GitRepo, host: Host) -> str:
    """Ten checkpoints on a host."""
    for number, name in enumerate(NAMES):
        repo.write(name, checkpoint("ab", a=number, b=100 + number))
    repo.commit("ten")
    return publish(repo, host)


def publish(repo: GitRepo, host: Host) -> str:
    url = host.create(repo)
    repo.git("remote", "add", "origin", url)
    repo.git("push", "--quiet", "-u", "origin", "main")
    host.requests.clear()
    return url


def check_many(repo: GitRepo) -> None:
    for number, name in enumerate(NAMES):
        assert repo.read(name) == checkpoint("ab", a=number, b=100 + number)
    check_whole(repo, checkpoint())


# plain Git


def test_a_clone_downloads_all_files_in_one_batch(repo: GitRepo, many: str, host: Host) -> None:
    copy = clone(repo, many, "copy")
    check_many(copy)
    assert [set(batch) for batch in host.batches("download")] == [oids(repo)]
    assert host.count("GET", OBJECT) == len(oids(repo))


def test_pull_and_checkout_download_only_what_changed(repo: GitRepo, many: str, host: Host) -> None:
    copy = clone(repo, many, "copy")
    before = oids(repo)
    for number in (3, 4):
        repo.write(NAMES[number], checkpoint("ab", a=500 + number, b=100 + number))
    repo.commit("two")
    repo.git("push", "origin", "main", "main:topic")
    host.requests.clear()
    copy.git("pull", "--quiet")
    assert [set(batch) for batch in host.batches("download")] == [oids(repo) - before]
    assert copy.read(NAMES[3]) == checkpoint("ab", a=503, b=103)
    assert status(copy) == ""
    host.requests.clear()
    copy.git("checkout", "--quiet", "topic")
    assert host.count("POST", BATCH) == 0


def test_fetch_then_checkout_of_a_branch(repo: GitRepo, remote: str, host: Host) -> None:
    copy = clone(repo, remote, "copy")
    repo.git("checkout", "--quiet", "-b", "topic")
    content = change(repo)
    repo.git("push", "--quiet", "origin", "topic")
    host.requests.clear()
    copy.git("fetch", "--quiet")
    assert host.count("POST", BATCH) == 0
    copy.git("checkout", "--quiet", "topic")
    assert len(host.batches("download")) == 1
    check_whole(copy, content)


def test_a_merge_brings_what_the_other_side_has(repo: GitRepo, remote: str) -> None:
    copy = clone(repo, remote, "copy")
    repo.write("other.safetensors", checkpoint("xy"))
    repo.commit("other")
    repo.git("push", "--quiet", "origin", "main")
    change(copy)
    copy.git("pull", "--quiet", "--no-rebase", "--no-edit")
    assert copy.read("other.safetensors") == checkpoint("xy")
    check_whole(copy, checkpoint(a=1))


def test_a_branch_of_another_remote(repo: GitRepo, remote: str, host: Host) -> None:
    """Its objects are on that remote only."""
    fork = host.create(repo, "fork")
    repo.git("remote", "add", "fork", fork)
    content = change(repo)
    repo.git("push", "--quiet", "fork", "main:topic")
    copy = clone(repo, remote, "copy")
    copy.git("remote", "add", "fork", fork)
    copy.git("fetch", "--quiet", "fork")
    copy.git("checkout", "--quiet", "--detach", "fork/topic")
    check_whole(copy, content)


def test_placeholders_on_request_then_part_then_all(repo: GitRepo, host: Host) -> None:
    start(repo, large(0))
    url = publish(repo, host)
    copy = clone(repo, url, "copy", **SKIP)
    check_placeholder(copy)
    assert host.count("POST", BATCH) == 0
    said = copy.run("git", "theta", "pull", "--group", "encoder.*", code=0).stdout.decode()
    assert "2 of 4 groups here" in said
    assert 0 < len(oids(copy)) < len(oids(repo))
    check_placeholder(copy)
    assert [set(batch) for batch in host.batches("download")] == [oids(copy)]
    copy.theta("pull")
    check_whole(copy, large(0))
    assert oids(copy) == oids(repo)


def test_pull_completes_ten_placeholders_in_one_batch(repo: GitRepo, many: str, host: Host) -> None:
    copy = clone(repo, many, "copy", **SKIP)
    copy.theta("pull", NAMES[0])
    assert len(host.batches("download")) == 1
    assert sum(is_manifest(copy.read(name)) for name in NAMES) == 9
    host.requests.clear()
    copy.theta("pull")
    assert len(host.batches("download")) == 1
    check_many(copy)


def test_fetch_brings_objects_and_leaves_the_worktree(repo: GitRepo, remote: str) -> None:
    change(repo)
    repo.git("push", "--quiet", "origin", "main")
    copy = clone(repo, remote, "copy", **SKIP)
    copy.theta("fetch", "--all")
    check_placeholder(copy)
    assert oids(copy) == oids(repo)
    copy.git("remote", "remove", "origin")
    copy.theta("checkout")
    check_whole(copy, checkpoint(a=1))


def test_fetch_of_a_remote_says_how(repo: GitRepo) -> None:
    repo.git("remote", "add", "hub", "../hub.git")
    said = repo.run("git", "theta", "fetch", "hub", "HEAD", code=2).stderr
    assert b"hint: git theta fetch --remote hub HEAD\n" in said


def test_fetch_all_counts_what_another_worktree_has_staged(repo: GitRepo) -> None:
    repo.git("worktree", "add", "--quiet", "../second")
    second = repo.at(repo.path.parent / "second")
    second.write(MODEL, checkpoint(a=1))
    second.git("add", MODEL)
    assert json.loads(repo.theta("fetch", "--all", "--json"))["wanted"] == len(oids(repo)) == 2


# partial and shallow clones


@pytest.mark.parametrize(
    "options",
    [("--depth=1",), ("--single-branch", "--branch", "main"), ("--no-tags",)],
    ids=["shallow", "single branch", "no tags"],
)
def test_less_of_the_history(repo: GitRepo, remote: str, host: Host, options: tuple[str, ...]) -> None:
    first = change(repo)
    last = change(repo, 2)
    repo.git("push", "--quiet", "origin", "main", "main~1:refs/heads/old")
    copy = clone(repo, remote, "copy", *options)
    check_whole(copy, last)
    content = change(copy, 3)
    copy.git("push", "--quiet", "origin", "main")
    repo.git("pull", "--quiet")
    check_whole(repo, content)
    repo.git("checkout", "--quiet", "main~2")
    check_whole(repo, first)


def test_a_partial_clone(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("-C", host.folder(), "config", "uploadpack.allowFilter", "true")
    last = change(repo)
    repo.git("push", "--quiet", "origin", "main")
    copy = clone(repo, remote, "copy", "--filter=blob:none")
    check_whole(copy, last)
    copy.git("checkout", "--quiet", "main~1")
    check_whole(copy, checkpoint())
    copy.git("checkout", "--quiet", "main")
    content = change(copy, 2)
    copy.git("push", "--quiet", "origin", "main")
    repo.git("pull", "--quiet")
    check_whole(repo, content)


def test_a_partial_clone_fills_another_remote(repo: GitRepo, remote: str, host: Host) -> None:
    """Its old manifests were never fetched; Git fetches them to push them, and so do we."""
    repo.git("-C", host.folder(), "config", "uploadpack.allowFilter", "true")
    repo.write(MODEL, checkpoint("uvw"))
    repo.commit("all else")
    repo.git("push", "--quiet", "origin", "main")
    copy = clone(repo, remote, "copy", "--filter=blob:none")
    second = host.create(repo, "second")
    copy.git("remote", "add", "second", second)
    done = attempt(copy, "push", "second", "main")
    if done.returncode != 0:
        assert b"neither here nor on second" in done.stderr
        copy.theta("fetch", "--all", "--remote", "origin")
        copy.git("push", "--quiet", "second", "main")
    assert set(host.objects("second")) == oids(repo)


# offline


def test_offline_leaves_placeholders_and_pull_completes(repo: GitRepo, many: str, host: Host) -> None:
    """Git's own part is on a path here, so that only the objects are out of reach."""
    repo.git("config", "-f", ".lfsconfig", "lfs.url", "http://127.0.0.1:9/nobody")
    repo.commit("a server that is down")
    content = change(repo)
    done = repo.run("git", "clone", str(repo.path), "copy", cwd="..", env={"GIT_THETA_STORAGE": "elsewhere"})
    assert done.returncode == 0
    copy = repo.at(repo.path.parent / "copy")
    assert b"git theta pull completes it" in done.stderr
    check_placeholder(copy)
    copy.git("commit", "--allow-empty", "-m", "Git goes on")
    copy.git("checkout", "--quiet", "-b", "side", "HEAD~2")
    assert status(copy) == ""
    copy.git("checkout", "--quiet", "main")
    repo.git("push", "--quiet", "--no-verify", "origin", "main")
    copy.git("config", "lfs.url", host.lfs_url())
    repo.git("config", "lfs.url", host.lfs_url())
    repo.theta("push", "origin")
    copy.theta("pull")
    check_whole(copy, content)


def test_a_missing_object_costs_its_file_only(repo: GitRepo, many: str, host: Host) -> None:
    gone = only_in(repo, NAMES[4])
    host.objects()[gone].unlink()
    done = attempt(repo, "clone", "--quiet", many, "../copy")
    assert done.returncode == 0
    copy = repo.at(repo.path.parent / "copy")
    left = [name for name in NAMES if is_manifest(copy.read(name))]
    assert left == [NAMES[4]]
    assert gone.encode() in done.stderr
    assert done.stderr.count(b"git-theta:") == 1
    assert status(copy) == ""
    repo.theta("push", "--all")
    copy.theta("pull")
    check_many(copy)


def only_in(repo: GitRepo, name: str) -> str:
    """An object that no other file needs."""
    rest = {oid for other in (*NAMES, MODEL) if other != name for oid in named(repo, other)}
    return sorted(named(repo, name) - rest)[0]


def named(repo: GitRepo, name: str) -> set[str]:
    """The objects that a file's manifest names."""
    text = repo.run("git", "cat-file", "blob", f"HEAD:{name}").stdout.decode()
    return {oid for oid in oids(repo) if oid in text}


def test_a_download_that_is_cut_off_goes_on_where_it_was(repo: GitRepo, host: Host) -> None:
    from tests.e2e.lfs_server import Fault

    start(repo, large(0))
    url = publish(repo, host)
    copy = clone(repo, url, "copy", **SKIP)
    host.faults = [Fault("GET", OBJECT, times=1, cut=1_000_000)]
    copy.theta("pull")
    check_whole(copy, large(0))
    asked = [request.headers.get("range") for request in host.requests if request.method == "GET"]
    assert "bytes=1000000-" in "".join(str(one) for one in asked)


def flip(repo: GitRepo) -> str:
    """Change a bit in the first object of a clone where only a digest can tell; returns its oid."""
    path = objects(repo)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    return path.name


def test_fetch_and_pull_replace_a_damaged_object(repo: GitRepo, remote: str) -> None:
    copy = clone(repo, remote, "copy")
    oid = flip(copy)
    assert json.loads(copy.theta("fetch", "--json"))["fetched"] == [oid]
    assert "fetched 0 objects" in copy.theta("fetch")
    flip(copy)
    (copy.path / MODEL).unlink()
    assert b"git theta pull completes it" in attempt(copy, "checkout", "--", MODEL).stderr
    check_placeholder(copy)
    assert b"moved 1 damaged object to theta/corrupt/" in attempt(copy, "theta", "pull").stderr
    check_whole(copy, checkpoint())


def test_an_object_that_is_damaged_over_there_as_well_does_not_come(repo: GitRepo) -> None:
    """Both names are one file."""
    origin = bare(repo)
    repo.git("push", "--quiet", "origin", "main")
    copy = clone(repo, origin.path, "copy")
    oid = flip(copy)
    (copy.path / MODEL).unlink()
    for _ in range(2):
        assert copy.run("git", "theta", "pull", code=5).stderr.decode().count("damaged on origin as well") == 1
    assert not object_path(copy, oid).exists()


# stores that are near


def test_a_clone_of_a_path_links_its_objects(repo: GitRepo) -> None:
    origin = bare(repo)
    repo.git("push", "--quiet", "origin", "main")
    copy = clone(repo, origin.path, "copy")
    check_whole(copy, checkpoint())
    assert all(path.stat().st_nlink >= 2 for path in objects(copy))


def test_a_clone_of_a_working_repository(repo: GitRepo) -> None:
    copy = clone(repo, repo.path, "copy")
    check_whole(copy, checkpoint())


@pytest.mark.parametrize("option", ["--reference", "--reference-if-able"])
def test_objects_of_a_reference_repository_are_used(repo: GitRepo, remote: str, host: Host, option: str) -> None:
    copy = clone(repo, remote, "copy", option, str(repo.path))
    assert host.count("POST", BATCH) == 0
    check_whole(copy, checkpoint())
    shutil.rmtree(repo.path / ".git" / "theta")
    copy.git("rm", "-q", MODEL)
    copy.git("reset", "--quiet", "--hard")
    check_whole(copy, checkpoint())


def test_a_reference_repository_with_its_store_elsewhere(repo: GitRepo, host: Host) -> None:
    repo.git("config", "theta.storage", str(repo.path.parent / "big disk"))
    start(repo, checkpoint())
    url = publish(repo, host)
    copy = clone(repo, url, "copy", "--reference", str(repo.path))
    assert host.count("POST", BATCH) == 0
    check_whole(copy, checkpoint())


def test_two_clones_share_a_store(repo: GitRepo, remote: str, host: Host) -> None:
    shared = repo.path.parent / "cache"
    setting = ("-c", f"theta.storage={shared}")
    check_whole(clone(repo, remote, "one", *setting), checkpoint())
    assert len(host.batches("download")) == 1
    two = clone(repo, remote, "two", *setting)
    check_whole(two, checkpoint())
    assert len(host.batches("download")) == 1
    assert not (two.path / ".git" / "theta" / "objects").exists()
    content = change(two)
    two.git("push", "--quiet", "origin", "main")
    repo.git("pull", "--quiet")
    check_whole(repo, content)


# people without git-theta


def test_somebody_without_git_theta_reads_text_and_completes_later(repo: GitRepo, remote: str, host: Host) -> None:
    home = repo.path.parent / "plain home"
    home.mkdir()
    plain = GitRepo(repo.path, user_environment(home))
    copy = clone(plain, remote, "copy")
    text = copy.read(MODEL)
    assert is_manifest(text)
    assert text.decode().splitlines()[2:]
    copy.git("config", "user.name", "Bob")
    copy.git("config", "user.email", "bob@example.com")
    copy.write("notes.txt", b"from somebody without git-theta\n")
    copy.commit("notes", "notes.txt")
    copy.git("push", "--quiet", "origin", "main")
    copy.theta("install", "--global")
    copy.theta("pull")
    check_whole(copy, checkpoint())
    content = change(copy)
    copy.git("push", "--quiet", "origin", "main")
    repo.git("pull", "--quiet")
    check_whole(repo, content)


def test_a_clone_gets_its_hook_with_the_first_checkout(repo: GitRepo, remote: str, host: Host) -> None:
    copy = clone(repo, remote, "copy")
    content = change(copy)
    copy.git("push", "--quiet", "origin", "main")
    assert oids(copy) <= set(host.objects())
    repo.git("pull", "--quiet")
    check_whole(repo, content)


def test_a_bundle_says_what_it_lacks(repo: GitRepo) -> None:
    """A bundle has Git's part only."""
    bundle = repo.path.parent / "all.bundle"
    repo.git("bundle", "create", "--quiet", bundle, "main")
    done = attempt(repo, "clone", "--quiet", str(bundle), "../copy", "--branch", "main")
    assert done.returncode == 0
    copy = repo.at(repo.path.parent / "copy")
    assert b"git theta pull completes it" in done.stderr
    check_placeholder(copy)
    copy.git("remote", "add", "origin2", repo.path)
    copy.theta("pull")
    check_whole(copy, checkpoint())


def test_a_submodule_pushes_and_is_cloned(repo: GitRepo, remote: str, host: Host) -> None:
    parent = repo.at(repo.path.parent / "parent")
    parent.path.mkdir()
    parent.git("init", "--quiet")
    parent.git("submodule", "--quiet", "add", remote, "models")
    parent.git("commit", "-m", "models")
    inner = parent.at(parent.path / "models")
    content = change(inner)
    inner.git("push", "--quiet", "origin", "HEAD:main")
    parent.git("commit", "--all", "-m", "newer models")
    whole = clone(repo, Path("parent"), "whole", "--recurse-submodules")
    assert whole.read(f"models/{MODEL}") == content


def test_there_is_nothing_on_a_path_that_was_never_pushed_to(repo: GitRepo) -> None:
    origin = bare(repo)
    repo.git("push", "--quiet", "--no-verify", "origin", "main")
    assert there(origin) == []
    done = attempt(repo, "clone", "--quiet", str(origin.path), "../copy")
    assert done.returncode == 0
    assert b"origin does not have it" in done.stderr
    copy = repo.at(repo.path.parent / "copy")
    check_placeholder(copy)
    repo.theta("push")
    copy.theta("pull")
    check_whole(copy, checkpoint())
