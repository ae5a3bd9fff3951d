"""SSH remotes: Git and git-lfs go through the ssh that Git is told of, with what the host's own programs answer.

The host is this machine: its ``ssh`` runs the command that was sent to it in a shell, where ``git-upload-pack`` and
``git-receive-pack`` are Git's own and ``git-lfs-authenticate`` (git-lfs docs/api/server-discovery.md) names the server.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.e2e.conftest import GitRepo
from tests.e2e.lfs_server import BATCH, Host
from tests.e2e.transfer import SKIP, attempt, change, check_placeholder, check_whole, clone, oids, pointers

TOKEN = "RemoteAuth of-ada"
# Options as OpenSSH has them; then the host's name, then the command.
SSH = """\
#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in -o|-p) shift 2;; --) shift; break;; -*) shift;; *) break;; esac
done
echo "$*" >>{log}
shift
PATH={programs}:$PATH
export PATH
eval "$*"
"""


@pytest.fixture
def ssh(repo: GitRepo, host: Host, tmp_path: Path) -> GitRepo:
    """The same user, whose ssh reaches a host with one empty repository."""
    host.create(repo)
    programs = tmp_path / "on-the-host"
    programs.mkdir()
    answer = json.dumps({"href": host.lfs_url(), "header": {"Authorization": TOKEN}, "expires_in": 3600})
    put(programs / "git-lfs-authenticate", f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(answer)}\n")
    put(tmp_path / "bin" / "ssh", SSH.format(log=shlex.quote(str(log_of(repo))), programs=shlex.quote(str(programs))))
    return repo.at(repo.path, GIT_SSH_COMMAND=shlex.quote(str(tmp_path / "bin" / "ssh")))


def put(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def log_of(repo: GitRepo) -> Path:
    return repo.home / "ssh.log"


def said(repo: GitRepo, program: str) -> list[str]:
    """The host's name and the arguments of each ``program`` that was run there."""
    lines = [line.split(" ", 2) for line in log_of(repo).read_text().splitlines()]
    return [f"{line[0]} {line[2]}" for line in lines if line[1] == program]


@pytest.mark.parametrize("form", ["ssh://git@models.example:2222{}", "git@models.example:{}"])
def test_push_and_clone_over_ssh(ssh: GitRepo, host: Host, form: str) -> None:
    url = form.format(host.folder())
    ssh.git("remote", "add", "origin", url)
    content = change(ssh)
    ssh.git("push", "origin", "main")
    assert set(host.objects()) == oids(ssh) == set(pointers(ssh, url))
    copy = clone(ssh, url, "copy")
    check_whole(copy, content)
    assert copy.theta("fsck", "--remote").startswith("origin has all")
    for operation in ("upload", "download"):
        assert f"git@models.example {host.folder()} {operation}" in said(ssh, "git-lfs-authenticate")
    questions = [request for request in host.requests if re.search(BATCH, request.path)]
    assert {request.headers.get("authorization") for request in questions} == {TOKEN}


def test_a_host_that_gives_no_token_refuses_the_push_and_leaves_placeholders(ssh: GitRepo, host: Host) -> None:
    url = f"ssh://git@models.example{host.folder()}"
    ssh.git("remote", "add", "origin", url)
    content = change(ssh)
    ssh.git("push", "origin", "main")
    copy = clone(ssh, url, "copy", **SKIP)
    program = ssh.path.parent / "on-the-host" / "git-lfs-authenticate"
    program.write_text("#!/bin/sh\necho 'no such key' >&2\nexit 1\n")
    change(ssh, 2)
    done = attempt(ssh, "push", "origin", "main")
    assert done.returncode != 0
    assert b"no such key" in done.stderr
    assert ssh.git("ls-remote", "origin", "main").split()[0] == ssh.git("rev-parse", "HEAD~1")
    assert b"no such key" in attempt(copy, "theta", "pull").stderr
    check_placeholder(copy)
    program.unlink()
    copy.git("config", "lfs.url", host.lfs_url())
    copy.theta("pull")
    check_whole(copy, content)
