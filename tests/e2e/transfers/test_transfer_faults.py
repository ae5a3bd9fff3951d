"""Servers that refuse, stumble, break off or lie: a clear line, nothing half-way, and the same command again works."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import GitRepo
from tests.e2e.lfs_server import BATCH, OBJECT, VERIFY, Fault, Host
from tests.e2e.support import MODEL, checkpoint, is_manifest, object_path, status
from tests.e2e.test_crash import STEPS
from tests.e2e.transfer import (
    SKIP,
    attempt,
    bare,
    change,
    check_placeholder,
    check_whole,
    clone,
    oids,
    pointers,
    there,
)

CHALLENGE = {"WWW-Authenticate": 'Basic realm="models"'}


@dataclass(frozen=True)
class Trouble:
    """What a server does to uploads and downloads of objects, and what has to be in the message."""

    up: Fault
    down: Fault
    said: str = ""


def question(said: str = "", **settings: Any) -> Trouble:
    """Trouble with the first question, which of the objects are to go."""
    return Trouble(Fault("POST", BATCH, **settings), Fault("POST", BATCH, **settings), said)


def bodies(said: str = "", **settings: Any) -> Trouble:
    """Trouble with the objects themselves."""
    return Trouble(Fault("PUT", OBJECT, **settings), Fault("GET", OBJECT, **settings), said)


FATAL = {
    "401": question(status=401, headers=CHALLENGE, said="Git credentials for"),
    "403": question(status=403, said="Authorization error"),
    "404, no such server": question(status=404, said="not found"),
    "413": bodies(status=413, said="HTTP 413"),
    "429": question(status=429, said="Rate limit exceeded"),
    "500": question(status=500, said="Server error"),
    "503 for objects": bodies(status=503, said="503"),
    # A connection that closes under an upload has many names: EOF, reset, broken pipe, use of closed connection.
    "cut off": bodies(cut=3000, said="LFS: "),
    "cut off at once": bodies(cut=0, said="LFS: "),
    "the question is cut off": question(cut=5, said="EOF"),
}
PASSING = {
    "429 with a time to wait": question(status=429, times=1, headers={"Retry-After": "1"}),
    "429 for the question": question(status=429, times=1),
    "429 for objects": bodies(status=429, times=1, headers={"Retry-After": "1"}),
    "500 for the question": question(status=500, times=1),
    "500 for objects": bodies(status=500, times=1),
    "cut off once": bodies(cut=3000, times=1),
}


@pytest.fixture
def placeholders(repo: GitRepo, remote: str, host: Host) -> GitRepo:
    """A clone without objects of what ``repo`` has pushed."""
    repo.git("push", "--quiet", "origin", "main")
    copy = clone(repo, remote, "copy", **SKIP)
    host.requests.clear()
    return copy


def one_line(stderr: bytes) -> str:
    """The one line we said, whatever Git said around it."""
    lines = [line for line in stderr.decode().splitlines() if line.startswith("git-theta: ")]
    assert len(lines) == 1, stderr.decode()
    assert len(lines[0]) < 600
    assert "Traceback" not in stderr.decode()
    return lines[0]


def check_nothing_pushed(repo: GitRepo, done: subprocess.CompletedProcess[bytes], said: str) -> None:
    assert done.returncode != 0
    assert said in one_line(done.stderr)
    assert b"hint: nothing was pushed" in done.stderr
    assert repo.git("ls-remote", "origin") == ""


def log_in(repo: GitRepo) -> None:
    """Let Git know a user and a password, for which git-lfs asks once a server wanted some."""
    repo.git("config", "--global", "credential.helper", "!f() { echo username=ada; echo password=secret; }; f")


@pytest.mark.parametrize("name", FATAL)
def test_a_push_that_cannot_send_pushes_nothing(repo: GitRepo, remote: str, host: Host, name: str) -> None:
    host.faults = [replace(FATAL[name].up)]
    check_nothing_pushed(repo, attempt(repo, "push", "origin", "main"), FATAL[name].said)
    log_in(repo)
    host.faults = []
    repo.git("push", "origin", "main")
    assert set(host.objects()) == oids(repo)
    check_whole(clone(repo, remote, "copy"), checkpoint())


@pytest.mark.parametrize("name", FATAL)
def test_a_pull_that_cannot_fetch_leaves_placeholders(placeholders: GitRepo, host: Host, name: str) -> None:
    host.faults = [replace(FATAL[name].down)]
    done = placeholders.run("git", "theta", "pull", code=5)
    assert FATAL[name].said in one_line(done.stderr)
    check_placeholder(placeholders)
    log_in(placeholders)
    host.faults = []
    placeholders.theta("pull")
    check_whole(placeholders, checkpoint())


@pytest.mark.parametrize("name", ["403", "500", "cut off"])
def test_a_clone_that_cannot_fetch_ends_with_placeholders(repo: GitRepo, remote: str, host: Host, name: str) -> None:
    repo.git("push", "--quiet", "origin", "main")
    host.faults = [replace(FATAL[name].down)]
    done = attempt(repo, "clone", "--quiet", remote, "../copy")
    assert done.returncode == 0
    assert one_line(done.stderr).startswith(f"git-theta: {MODEL}: ")
    assert b"git theta pull completes it" in done.stderr
    copy = repo.at(repo.path.parent / "copy")
    check_placeholder(copy)
    host.faults = []
    copy.theta("pull")
    check_whole(copy, checkpoint())


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_by_itself_is_not_even_mentioned(repo: GitRepo, remote: str, host: Host, name: str) -> None:
    host.faults = [replace(PASSING[name].up)]
    assert b"git-theta" not in repo.run("git", "push", "origin", "main").stderr
    host.faults = [replace(PASSING[name].down)]
    done = repo.run("git", "clone", "--quiet", remote, "../copy")
    assert done.stderr == b""
    check_whole(repo.at(repo.path.parent / "copy"), checkpoint())


def test_missing_fail_makes_git_stop(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "--quiet", "origin", "main")
    host.faults = [replace(FATAL["403"].down)]
    done = attempt(repo, "-c", "theta.missing=fail", "clone", "--quiet", remote, "../copy")
    assert done.returncode != 0
    assert b"Authorization error" in done.stderr


def test_a_server_that_is_down(repo: GitRepo, host: Host, placeholders: GitRepo) -> None:
    """Git's own part is on a path, as it would have failed first."""
    origin = bare(repo, "path")
    for one in (repo, placeholders):
        one.git("config", "lfs.url", host.lfs_url())
    host.stop()
    change(repo)
    done = attempt(repo, "push", "path", "main")
    assert done.returncode != 0
    assert "connection refused" in one_line(done.stderr)
    assert b"hint: nothing was pushed" in done.stderr
    assert repo.git("ls-remote", "path") == ""
    assert there(origin) == []
    done = placeholders.run("git", "theta", "pull", code=5)
    assert "connection refused" in one_line(done.stderr)
    check_placeholder(placeholders)


def test_credentials_are_gits_own(repo: GitRepo, remote: str, host: Host) -> None:
    """Whoever logs in to Git LFS is logged in for our objects."""
    log_in(repo)
    host.faults = [Fault("POST", BATCH, status=401, headers=CHALLENGE, anonymous=True)]
    repo.git("push", "origin", "main")
    check_whole(clone(repo, remote, "copy"), checkpoint())
    assert any("authorization" in request.headers for request in host.requests)


def test_keys_in_addresses_are_not_shown(placeholders: GitRepo, host: Host) -> None:
    host.faults = [Fault("GET", OBJECT, status=403)]
    done = placeholders.run("git", "theta", "pull", code=5)
    assert b"Authorization error" in done.stderr
    assert b"jwt=" not in done.stderr


@pytest.mark.parametrize("status", [404, 422, 500])
@pytest.mark.parametrize(("method", "path"), [("PUT", OBJECT), ("POST", VERIFY)], ids=["not taken", "not confirmed"])
def test_an_upload_that_the_server_does_not_accept(
    repo: GitRepo, remote: str, host: Host, method: str, path: str, status: int
) -> None:
    """git-lfs exits with 0 after 422, as if all were well."""
    host.faults = [Fault(method, path, status=status)]
    done = attempt(repo, "push", "origin", "main")
    check_nothing_pushed(repo, done, "git-lfs could not send objects to origin")
    host.faults = []
    repo.git("push", "origin", "main")
    check_whole(clone(repo, remote, "copy"), checkpoint())


# servers that lie


def damage(path: Path) -> None:
    """Other bytes of the same length."""
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def test_a_corrupt_body_is_never_taken(placeholders: GitRepo, host: Host) -> None:
    for path in host.objects().values():
        damage(path)
    done = placeholders.run("git", "theta", "pull", code=5)
    assert "expected OID" in one_line(done.stderr)
    check_placeholder(placeholders)
    assert oids(placeholders) == set()


def test_a_corrupt_body_during_clone_is_never_written(repo: GitRepo, remote: str, host: Host) -> None:
    repo.git("push", "--quiet", "origin", "main")
    for path in host.objects().values():
        damage(path)
    copy = clone(repo, remote, "copy")
    check_placeholder(copy)
    assert oids(copy) == set()
    for path in host.objects().values():
        damage(path)
    copy.theta("pull")
    check_whole(copy, checkpoint())


def test_a_server_that_says_it_has_an_object_and_does_not(repo: GitRepo, remote: str, host: Host) -> None:
    """The push cannot know; whoever clones is told, and a push mends it once the server says the truth."""
    lie = host.lfs_folder() / sorted(oids(repo))[0]
    lie.parent.mkdir(parents=True)
    lie.write_bytes(b"?" * object_path(repo, lie.name).stat().st_size)
    repo.git("push", "origin", "main")
    assert host.count("PUT", OBJECT) == len(oids(repo)) - 1
    done = attempt(repo, "clone", "--quiet", remote, "../copy")
    assert done.returncode == 0
    assert lie.name in one_line(done.stderr)
    copy = repo.at(repo.path.parent / "copy")
    check_placeholder(copy)
    lie.unlink()
    repo.theta("push")
    copy.theta("pull")
    check_whole(copy, checkpoint())


def test_a_server_that_offers_an_object_and_answers_404(placeholders: GitRepo, host: Host) -> None:
    host.faults = [Fault("GET", OBJECT, status=404)]
    done = placeholders.run("git", "theta", "pull", code=5)
    assert "404" in one_line(done.stderr) or "not found" in one_line(done.stderr)
    check_placeholder(placeholders)
    host.faults = []
    placeholders.theta("pull")
    check_whole(placeholders, checkpoint())


def test_one_object_the_server_does_not_have(repo: GitRepo, remote: str, host: Host) -> None:
    """The others come, and only the file that needs it is a placeholder."""
    repo.write("other.safetensors", checkpoint("xyz"))
    repo.commit("other")
    repo.git("push", "--quiet", "origin", "main")
    text = repo.run("git", "cat-file", "blob", f"HEAD:{MODEL}").stdout.decode()
    gone = next(oid for oid in sorted(oids(repo)) if oid in text)
    host.objects()[gone].unlink()
    copy = clone(repo, remote, "copy")
    assert is_manifest(copy.read(MODEL))
    assert copy.read("other.safetensors") == checkpoint("xyz")
    assert oids(copy) == oids(repo) - {gone}
    done = copy.run("git", "theta", "pull", code=5)
    assert gone in one_line(done.stderr)
    assert status(copy) == ""


# kill -9


def killed(repo: GitRepo, host: Host, fault: Fault, *command: str) -> bool:
    """Run a command in a process group of its own and kill all of it when a request arrives; whether that came."""
    groups: list[int] = []

    def kill() -> None:
        os.killpg(groups[0], signal.SIGKILL)

    fault.act = kill
    host.faults = [fault]
    process = subprocess.Popen(
        command, cwd=repo.path, env=repo.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    groups.append(process.pid)
    process.communicate()
    host.faults = []
    return process.returncode != 0


UP = {
    "at the first word": ("GET", r"service=git-receive-pack"),
    "at the question": ("POST", BATCH),
    "at the first object": ("PUT", OBJECT),
    "at the confirmation": ("POST", VERIFY),
    "at the pointers": ("GET", r"service=git-upload-pack"),
    "at Git's own part": ("POST", r"/git-receive-pack$"),
}


@pytest.mark.parametrize("point", UP)
def test_a_push_that_is_killed_is_pushed_again(repo: GitRepo, remote: str, host: Host, point: str) -> None:
    assert killed(repo, host, Fault(*UP[point], times=1), "git", "push", "origin", "main")
    heads = repo.git("ls-remote", "--heads", "origin")
    assert heads == ""
    repo.git("push", "origin", "main")
    assert set(host.objects()) == oids(repo) == set(pointers(repo, remote))
    check_whole(clone(repo, remote, "copy"), checkpoint())


@pytest.mark.parametrize("cut", [1, 50_000])
@pytest.mark.parametrize("command", ["git theta pull", "git checkout -- ."])
def test_a_download_that_is_killed_is_made_again(placeholders: GitRepo, host: Host, command: str, cut: int) -> None:
    if command.startswith("git checkout"):
        (placeholders.path / MODEL).unlink()
    assert killed(placeholders, host, Fault("GET", OBJECT, times=1, cut=cut), *shlex.split(command))
    assert oids(placeholders) == set()
    (placeholders.path / ".git" / "index.lock").unlink(missing_ok=True)
    placeholders.run(*shlex.split(command))
    check_whole(placeholders, checkpoint())


def steps(number_of: str, run: Callable[[dict[str, str]], int]) -> int:
    """Run once for each step on disk of one command, killed at that step; returns how many there were."""
    path = os.pathsep.join(filter(None, [str(STEPS), os.environ.get("PYTHONPATH")]))
    for step in range(1, 200):
        env = {"PYTHONPATH": path, "THETA_TEST_STEP": str(step), "THETA_TEST_COMMAND": number_of}
        if run(env) == 0:
            return step - 1
    raise AssertionError("the command never ended by itself")


def test_a_push_to_a_path_killed_at_each_step_on_disk(repo: GitRepo) -> None:
    """Whatever is in the other store is whole, and no commit is there without its objects."""
    origin = bare(repo)

    def push(env: dict[str, str]) -> int:
        code = attempt(repo, "push", "--quiet", "origin", "main", **env).returncode
        if code:
            assert repo.git("ls-remote", "origin") == ""
        for path in there(origin):
            assert path.read_bytes() == object_path(repo, path.name).read_bytes()
        return code

    assert steps("pre-push", push) > 3
    check_whole(clone(repo, origin.path, "copy"), checkpoint())


def test_a_pull_from_a_path_killed_at_each_step_on_disk(repo: GitRepo) -> None:
    origin = bare(repo)
    repo.git("push", "--quiet", "origin", "main")
    copy = clone(repo, origin.path, "copy", **SKIP)

    def pull(env: dict[str, str]) -> int:
        code = copy.run("git-theta", "pull", code=None, env=env).returncode
        assert is_manifest(copy.read(MODEL)) or copy.read(MODEL) == checkpoint()
        (copy.path / ".git" / "index.lock").unlink(missing_ok=True)
        return code

    assert steps("pull", pull) > 5
    assert copy.read(MODEL) == checkpoint()
    assert copy.git("status", "--porcelain", "--untracked-files=no") == ""
