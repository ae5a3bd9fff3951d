"""Pushes of every kind: what a remote's commits name, the remote has; where that cannot be, nothing is pushed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import GitRepo
from tests.e2e.lfs_server import BATCH, OBJECT, Fault, Host
from tests.e2e.support import MODEL, checkpoint, object_path
from tests.e2e.transfer import (
    OBJECTS_REF,
    SKIP,
    attempt,
    bare,
    change,
    check_whole,
    clone,
    lose,
    oids,
    pointers,
    there,
)

AGENT = Path(__file__).with_name("transfer_agent.py")


def branches(repo: GitRepo, remote: str | Path = "origin") -> dict[str, str]:
    """The branches and tags on a remote with their ids."""
    lines = repo.git("ls-remote", "--heads", "--tags", remote).splitlines()
    return {name: oid for oid, name in (line.split("\t") for line in lines)}


# over HTTP, by Git LFS


def test_a_new_branch_brings_its_objects_and_a_pointer_for_each(repo: GitRepo, remote: str, host: Host) -> None:
    change(repo)
    repo.git("push", "origin", "main")
    assert set(host.objects()) == oids(repo) == set(pointers(repo, remote))
    for oid, path in host.objects().items():
        assert path.read_bytes() == object_path(repo, oid).read_bytes()


def test_a_second_push_offers_only_what_is_new(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "origin", "main")
    before = oids(repo)
    host.requests.clear()
    change(repo)
    repo.git("push", "origin", "main")
    assert [set(batch) for batch in host.batches("upload")] == [oids(repo) - before]
    assert set(pointers(repo, remote)) == oids(repo)


def test_a_push_without_news_asks_nobody(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "origin", "main")
    host.requests.clear()
    repo.git("push", "origin", "main")
    repo.write("notes.txt", b"no checkpoint\n")
    repo.commit("text")
    repo.git("push", "origin", "main")
    assert host.count("POST", BATCH) == 0


def test_a_tag_alone_brings_what_it_names(repo: GitRepo, remote: str, host: Host) -> None:
    change(repo)
    repo.git("tag", "-a", "v1", "-m", "first", "HEAD~1")
    repo.git("push", "origin", "v1")
    assert len(host.objects()) == len(oids(repo)) - 1
    copy = clone(repo, remote, "copy", "--branch", "v1")
    assert copy.read(MODEL) == checkpoint()


def test_a_forced_push_brings_the_other_history(repo: GitRepo, remote: str, host: Host) -> None:
    change(repo)
    repo.git("push", "origin", "main")
    repo.git("reset", "--hard", "HEAD~1")
    content = change(repo, 2)
    assert attempt(repo, "push", "origin", "main").returncode != 0
    repo.git("push", "--force", "origin", "main")
    check_whole(clone(repo, remote, "copy"), content)


def test_several_refs_and_a_deletion_in_one_push(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "origin", "main", "main:old")
    repo.git("checkout", "--quiet", "-b", "left")
    left = change(repo)
    repo.git("checkout", "--quiet", "-b", "right", "main")
    right = change(repo, 2)
    repo.git("tag", "v2")
    host.requests.clear()
    repo.git("push", "origin", "left", "right", "v2", ":old")
    assert len(host.batches("upload")) == 1
    assert sorted(branches(repo)) == ["refs/heads/left", "refs/heads/main", "refs/heads/right", "refs/tags/v2"]
    check_whole(clone(repo, remote, "left", "--branch", "left"), left)
    check_whole(clone(repo, remote, "right", "--branch", "right"), right)


def test_a_deletion_asks_nobody(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "origin", "main", "main:old")
    host.requests.clear()
    repo.git("push", "origin", "--delete", "old")
    assert host.count("POST", BATCH) == 0
    assert sorted(branches(repo)) == ["refs/heads/main"]


def test_an_address_without_a_name(repo: GitRepo, host: Host) -> None:
    url = host.create(repo)
    repo.git("push", url, "main")
    assert set(host.objects()) == oids(repo) == set(pointers(repo, url))
    change(repo)
    repo.theta("push", url)
    assert set(host.objects()) == oids(repo)


def test_an_address_that_is_written_otherwise(repo: GitRepo, host: Host) -> None:
    url = host.create(repo)
    repo.git("config", f"url.{host.url}/.insteadOf", "work:")
    repo.git("push", url.replace(f"{host.url}/", "work:"), "main")
    assert set(host.objects()) == oids(repo)


def test_several_remotes(repo: GitRepo, remote: str, host: Host) -> None:
    second = host.create(repo, "second")
    repo.git("remote", "add", "second", second)
    repo.git("push", "origin", "main")
    change(repo)
    repo.git("push", "second", "main")
    assert set(host.objects("second")) == oids(repo)
    assert set(host.objects()) < oids(repo)


def test_one_remote_with_two_addresses(repo: GitRepo, remote: str, host: Host) -> None:
    second = host.create(repo, "second")
    repo.git("remote", "set-url", "--add", "--push", "origin", remote)
    repo.git("remote", "set-url", "--add", "--push", "origin", second)
    repo.git("push", "origin", "main")
    for name, url in (("model", remote), ("second", second)):
        assert set(host.objects(name)) == oids(repo) == set(pointers(repo, url))


def test_fetch_from_here_and_push_to_there(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "origin", "main")
    fork = host.create(repo, "fork")
    copy = clone(repo, remote, "copy")
    copy.git("remote", "set-url", "--push", "origin", fork)
    change(copy)
    copy.git("push", "origin", "main")
    assert set(host.objects("fork")) == oids(copy) == set(pointers(copy, fork))
    assert branches(copy, fork)["refs/heads/main"] == copy.git("rev-parse", "HEAD")


def test_somebody_elses_commits_to_an_empty_remote(repo: GitRepo, remote: str, host: Host) -> None:
    content = change(repo)
    repo.git("push", "origin", "main")
    copy = clone(repo, remote, "copy")
    copy.theta("fetch", "--all")
    second = host.create(repo, "second")
    copy.git("remote", "add", "second", second)
    copy.git("push", "second", "main")
    assert set(host.objects("second")) == oids(repo)
    check_whole(clone(repo, second, "third"), content)


def test_objects_that_are_not_here_refuse_a_push_to_an_empty_remote(repo: GitRepo, remote: str, host: Host) -> None:
    """The clone has the last version only, and the history names the one before."""
    repo.write(MODEL, checkpoint("uvw"))
    repo.commit("all else")
    repo.git("push", "origin", "main")
    copy = clone(repo, remote, "copy")
    second = host.create(repo, "second")
    copy.git("remote", "add", "second", second)
    done = attempt(copy, "push", "second", "main")
    assert done.returncode != 0
    assert b"neither here nor on second" in done.stderr
    assert b"git theta fetch --all" in done.stderr
    assert branches(copy, second) == {}
    assert host.objects("second") == {}


def test_placeholders_alone_push_to_where_the_objects_are(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "origin", "main")
    copy = clone(repo, remote, "copy", **SKIP)
    copy.run("git", "mv", MODEL, "renamed.safetensors", env=SKIP)
    copy.run("git", "commit", "-m", "renamed", env=SKIP)
    assert oids(copy) == set()
    copy.git("push", "origin", "HEAD:refs/heads/renamed")
    assert branches(copy)["refs/heads/renamed"] == copy.git("rev-parse", "HEAD")


def test_placeholders_alone_are_not_pushed_to_a_remote_without_the_objects(
    repo: GitRepo, remote: str, host: Host
) -> None:
    repo.git("push", "origin", "main")
    copy = clone(repo, remote, "copy", **SKIP)
    second = host.create(repo, "second")
    done = attempt(copy, "push", second, "main")
    assert done.returncode != 0
    assert b"neither here nor on" in done.stderr
    assert branches(copy, second) == {}


def test_a_remote_that_was_made_anew_gets_everything(repo: GitRepo, remote: str, host: Host) -> None:
    """What Git remembers of the old one's branches says nothing about the new one."""
    repo.git("push", "origin", "main")
    change(repo)
    repo.git("push", "origin", "main")
    repo.git("remote", "set-url", "origin", host.create(repo, "anew"))
    assert repo.git("rev-parse", "origin/main")
    repo.git("push", "origin", "HEAD:refs/heads/topic")
    assert set(host.objects("anew")) == oids(repo)


def test_no_verify_is_repaired_by_theta_push(repo: GitRepo, remote: str, host: Host) -> None:
    content = change(repo)
    repo.git("push", "--no-verify", "origin", "main")
    assert host.objects() == {}
    said = repo.theta("push")
    assert "on origin" in said
    assert set(host.objects()) == oids(repo) == set(pointers(repo, remote))
    check_whole(clone(repo, remote, "copy"), content)


def test_theta_push_again_sends_nothing(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "origin", "main")
    host.requests.clear()
    repo.theta("push", "origin", "--all")
    assert host.count("PUT", OBJECT) == 0


@pytest.mark.parametrize("kind", ["--bare", "--mirror"])
def test_a_bare_clone_fills_another_host(repo: GitRepo, remote: str, host: Host, kind: str) -> None:
    repo.git("checkout", "--quiet", "-b", "side")
    content = change(repo)
    repo.git("push", "origin", "main", "side")
    copy = clone(repo, remote, "copy.git", kind)
    assert oids_of_bare(copy) == set()
    copy.theta("fetch", "--all")
    assert oids_of_bare(copy) == oids(repo)
    second = host.create(repo, "second")
    if kind == "--bare":
        copy.theta("push", second)
        assert set(host.objects("second")) == oids(repo)
    copy.git("push", "--mirror", second)
    assert set(host.objects("second")) == oids(repo)
    check_whole(clone(repo, second, "third", "--branch", "side"), content)


def test_a_bare_clone_fetches_the_objects_of_one_branch(repo: GitRepo, remote: str) -> None:
    change(repo)
    repo.git("push", "origin", "main", "main~1:refs/heads/old")
    copy = clone(repo, remote, "copy.git", "--bare")
    copy.theta("fetch", "old")
    assert 0 < len(oids_of_bare(copy)) < len(oids(repo))
    copy.theta("fetch")
    assert oids_of_bare(copy) == oids(repo)


def oids_of_bare(copy: GitRepo) -> set[str]:
    return {path.name for path in there(copy)}


def test_a_push_to_a_mirror_remote(repo: GitRepo, host: Host) -> None:
    url = host.create(repo)
    repo.git("remote", "add", "--mirror=push", "origin", url)
    done = repo.run("git", "push", "origin")
    assert b"git-theta:" not in done.stderr
    assert set(host.objects()) == oids(repo) == set(pointers(repo, url))
    for seed in (1, 2):
        change(repo, seed)
        assert b"git-theta:" not in repo.run("git", "push", "origin").stderr
        assert set(host.objects()) == oids(repo) == set(pointers(repo, url))


def test_a_first_mirror_push_says_that_it_takes_the_ref_away_and_the_next_brings_it_back(
    repo: GitRepo, remote: str, host: Host
) -> None:
    repo.git("push", "origin", "main")
    change(repo)
    done = repo.run("git", "push", "--mirror", "origin")
    assert done.stderr.count(b"git-theta:") == 1
    assert f"git push origin {OBJECTS_REF}".encode() in done.stderr
    for seed in (2, 3):
        change(repo, seed)
        assert b"git-theta:" not in repo.run("git", "push", "--mirror", "origin").stderr
    assert set(host.objects()) == oids(repo) == set(pointers(repo, remote))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="-n is looked at where words are told exactly")
@pytest.mark.parametrize("option", ["--dry-run", "-n"])
def test_a_dry_run_sends_nothing_and_says_what_it_would(repo: GitRepo, remote: str, host: Host, option: str) -> None:
    done = repo.run("git", "push", option, "origin", "main")
    assert b"a push would make sure of 1 object (82.7 kB) on origin" in done.stderr
    assert host.objects() == {}
    lose(repo, sorted(oids(repo))[0])
    assert b"neither here nor on origin" in attempt(repo, "push", option, "origin", "main").stderr


def test_a_missing_object_refuses_and_nothing_is_pushed(repo: GitRepo, remote: str, host: Host) -> None:
    gone = sorted(oids(repo))[0]
    lose(repo, gone)
    done = attempt(repo, "push", "origin", "main")
    assert done.returncode != 0
    assert gone.encode() in done.stderr
    assert b"neither here nor on origin" in done.stderr
    assert b"git add --renormalize" in done.stderr
    assert branches(repo) == {}
    assert host.objects() == {}
    repo.git("add", "--renormalize", MODEL)
    repo.git("push", "origin", "main")
    check_whole(clone(repo, remote, "copy"), checkpoint())


@pytest.mark.parametrize("local", [False, True], ids=["to a server", "to a path"])
def test_a_damaged_object_refuses_and_nothing_is_pushed(repo: GitRepo, remote: str, host: Host, local: bool) -> None:
    """Not every server looks at what it gets, and one that took it would never take the good one."""
    path = object_path(repo, sorted(oids(repo))[0])
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    target = str(bare(repo, "beside").path) if local else "origin"
    done = attempt(repo, "push", target, "main")
    assert done.returncode != 0
    assert b"is damaged here" in done.stderr
    assert b"hint: git theta fsck" in done.stderr
    assert branches(repo, target) == {}
    assert host.objects() == {}


def test_nothing_of_a_push_arrives_when_git_itself_is_refused(repo: GitRepo, remote: str, host: Host) -> None:
    """Objects without commits do no harm, and the next push is as good as the first."""
    hook = host.folder() / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nwhile read -r old new ref; do case $ref in refs/heads/*) exit 1;; esac; done\n")
    hook.chmod(0o755)
    assert attempt(repo, "push", "origin", "main").returncode != 0
    assert branches(repo) == {}
    hook.unlink()
    repo.git("push", "origin", "main")
    check_whole(clone(repo, remote, "copy"), checkpoint())


# refs/theta/objects


@pytest.mark.parametrize("name", ["update", "pre-receive"])
def test_a_host_that_refuses_the_ref_costs_one_warning(repo: GitRepo, remote: str, host: Host, name: str) -> None:
    hook = host.folder() / "hooks" / name
    refs = '"$1"' if name == "update" else "$(cut -d' ' -f3)"
    hook.write_text(f"#!/bin/sh\ncase {refs} in refs/theta/*) echo 'no such refs here' >&2; exit 1;; esac\n")
    hook.chmod(0o755)
    done = repo.run("git", "push", "origin", "main")
    assert done.stderr.count(b"git-theta:") == 1
    assert f"did not take {OBJECTS_REF}".encode() in done.stderr
    assert b"git config theta.objectsRef false" in done.stderr
    check_whole(clone(repo, remote, "copy"), checkpoint())
    repo.git("config", "theta.objectsRef", "false")
    change(repo)
    host.requests.clear()
    assert b"git-theta:" not in repo.run("git", "push", "origin", "main").stderr
    assert set(host.objects()) == oids(repo)


def test_the_ref_grows_and_never_shrinks(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "origin", "main")
    first = pointers(repo, remote)
    copy = clone(repo, remote, "copy")
    change(copy)
    copy.git("push", "origin", "HEAD:refs/heads/other")
    change(repo, 2)
    repo.git("push", "origin", "main")
    last = pointers(repo, remote)
    assert first.items() < last.items()
    assert set(last) == oids(repo) | oids(copy)
    sizes = {oid: path.stat().st_size for oid, path in host.objects().items()}
    assert last == sizes


def test_another_push_between_our_two_steps(repo: GitRepo, remote: str, host: Host) -> None:
    """Somebody's ref arrives after ours was read and before it is written; both are in the end."""
    repo.git("push", "origin", "main")
    copy = clone(repo, remote, "copy")
    change(copy)

    def push_too() -> None:
        copy.git("push", "origin", "HEAD:refs/heads/theirs")

    change(repo, 2)
    host.faults = [Fault("POST", r"git-receive-pack$", times=1, act=push_too)]
    assert b"git-theta:" not in repo.run("git", "push", "origin", "main").stderr
    assert sorted(branches(repo)) == ["refs/heads/main", "refs/heads/theirs"]
    assert set(pointers(repo, remote)) == oids(repo) | oids(copy)


def test_many_first_pushes_at_once(repo: GitRepo, remote: str, host: Host) -> None:
    repos = [repo]
    for number in (1, 2):
        repos.append(clone(repo, repo.path, f"r{number}"))
        repos[-1].git("remote", "set-url", "origin", remote)
    for number, one in enumerate(repos):
        change(one, number + 1)
    running = [
        subprocess.Popen(["git", "push", "origin", f"HEAD:refs/heads/b{n}"], cwd=r.path, env=r.env, stderr=-1)
        for n, r in enumerate(repos)
    ]
    said = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert set(pointers(repo, remote)) == set.union(*map(oids, repos)) == set(host.objects())


def test_settings_for_the_users_own_pushes_do_not_touch_the_ref(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("config", "push.followTags", "true")
    repo.git("config", "push.gpgSign", "if-asked")
    repo.git("config", "push.recurseSubmodules", "check")
    repo.git("tag", "-a", "v1", "-m", "v1")
    repo.git("push", "origin", "main")
    assert set(pointers(repo, remote)) == oids(repo)


# to a path


def test_a_path_gets_the_objects_into_its_own_store(repo: GitRepo) -> None:
    origin = bare(repo)
    content = change(repo)
    repo.git("push", "origin", "main")
    assert {path.name for path in there(origin)} == oids(repo)
    assert repo.git("ls-remote", "origin", OBJECTS_REF) == ""
    check_whole(clone(repo, origin.path, "copy"), content)


@pytest.mark.parametrize("form", ["relative", "file://", "~"])
def test_a_path_in_any_form(repo: GitRepo, form: str) -> None:
    origin = bare(repo)
    address = {"relative": "../origin.git", "file://": f"file://{origin.path}", "~": "~/../origin.git"}[form]
    repo.git("push", address, "main")
    assert {path.name for path in there(origin)} == oids(repo)


def test_a_path_needs_no_git_lfs(repo: GitRepo, without_git_lfs: str) -> None:
    origin = bare(repo)
    alone = repo.at(repo.path, PATH=without_git_lfs)
    alone.git("push", "origin", "main")
    check_whole(clone(alone, origin.path, "copy"), checkpoint())


def test_a_server_needs_git_lfs_and_says_so(repo: GitRepo, remote: str, host: Host, without_git_lfs: str) -> None:
    done = attempt(repo, "push", "origin", "main", PATH=without_git_lfs)
    assert done.returncode != 0
    assert b"git-lfs is not installed" in done.stderr
    assert b"apt-get install git-lfs" in done.stderr
    assert branches(repo) == {}
    repo.git("push", "origin", "main")
    copy = clone(repo, remote, "copy", PATH=without_git_lfs)
    pulled = copy.run("git", "theta", "pull", code=5, env={"PATH": without_git_lfs})
    assert b"git-lfs is not installed (https://git-lfs.com)" in pulled.stderr
    copy.theta("pull")
    check_whole(copy, checkpoint())


def test_objects_on_a_path_are_linked_not_copied(repo: GitRepo) -> None:
    origin = bare(repo)
    repo.git("push", "origin", "main")
    assert all(path.stat().st_nlink > 1 for path in there(origin))


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_a_store_of_a_team_stays_writable_for_the_team(repo: GitRepo) -> None:
    origin = repo.at(repo.path.parent / "shared.git")
    origin.path.mkdir()
    origin.git("init", "--quiet", "--bare", "--shared=group")
    repo.run("sh", "-c", 'umask 077; git push "$1" main', "sh", origin.path)
    folders = [path for path in [origin.path / "theta", *(origin.path / "theta").rglob("*")] if path.is_dir()]
    assert folders
    assert all(path.stat().st_mode & 0o2070 == 0o2070 for path in folders)


def test_a_store_that_cannot_be_written_refuses_the_push(repo: GitRepo) -> None:
    origin = bare(repo)
    (origin.path / "theta").write_text("in the way")
    done = attempt(repo, "push", "origin", "main")
    assert done.returncode != 0
    assert b"nothing was pushed" in done.stderr
    assert branches(repo) == {}


def test_a_path_with_a_server_named_for_it_uses_the_server(repo: GitRepo, host: Host) -> None:
    origin = bare(repo)
    repo.git("config", "-f", ".lfsconfig", "lfs.url", host.lfs_url())
    repo.commit("where objects are")
    repo.git("push", "origin", "main")
    assert set(host.objects()) == oids(repo)
    assert there(origin) == []
    check_whole(clone(repo, origin.path, "copy"), checkpoint())


def test_a_transfer_agent_is_used_as_git_lfs_would(repo: GitRepo) -> None:
    """An agent of the user's own, which needs no server."""
    origin = bare(repo)
    depot = repo.path.parent / "depot"
    depot.mkdir()
    for key, value in (
        ("customtransfer.depot.path", sys.executable),
        ("customtransfer.depot.args", f"{shlex.quote(str(AGENT))} {shlex.quote(str(depot))}"),
        ("standalonetransferagent", "depot"),
    ):
        repo.git("config", "--global", f"lfs.{key}", value)
    content = change(repo)
    repo.git("push", "origin", "main")
    assert {path.name for path in depot.iterdir()} == oids(repo)
    assert there(origin) == []
    check_whole(clone(repo, origin.path, "copy"), content)
