"""Many groups and a long history: work and traffic follow what changed. Counted, not timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import GitRepo
from tests.e2e.lfs_server import BATCH, OBJECT, Host
from tests.e2e.support import MODEL, noise
from tests.e2e.transfer import bare, check_whole, clone, oids, pointers, start, there

GROUPS = 1000
COMMITS = 5000


def wide(seed: int = 0) -> bytes:
    """A checkpoint of a thousand groups, four megabytes; ``seed`` is that of one group in the middle."""
    from safetensors.numpy import save

    names = [f"layers.{number}.weight" for number in range(GROUPS)]
    content: bytes = save({name: noise(name, seed if number == 500 else 0, 1024) for number, name in enumerate(names)})
    return content


def processes(repo: GitRepo, trace: Path, *command: str) -> list[str]:
    """What Git and git-lfs were started for by a command, by the traces they write."""
    trace.unlink(missing_ok=True)
    repo.run("git", *command, env={"GIT_TRACE2_EVENT": str(trace)})
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    return [" ".join(event["argv"][:2]) for event in events if event["event"] == "start"]


def test_a_thousand_groups_travel_as_few_objects(repo: GitRepo, host: Host) -> None:
    start(repo, wide())
    url = host.create(repo)
    repo.git("remote", "add", "origin", url)
    repo.git("push", "--quiet", "origin", "main")
    assert 0 < len(host.objects()) <= 3
    assert host.count("POST", BATCH) == 1
    copy = clone(repo, url, "copy")
    check_whole(copy, wide())
    repo.write(MODEL, wide(1))
    repo.commit("one group")
    host.requests.clear()
    repo.git("push", "--quiet", "origin", "main")
    sent = [request for request in host.requests if request.method == "PUT"]
    assert sum(len(request.body) for request in sent) < 8192
    host.requests.clear()
    copy.git("pull", "--quiet")
    assert host.count("GET", OBJECT) == len(sent)
    check_whole(copy, wide(1))


@pytest.fixture
def long_history(repo: GitRepo) -> tuple[GitRepo, bytes]:
    """Thousands of commits of one small model, and its bytes in the last but one."""
    contents = []
    start(repo, tiny(0))
    manifests = []
    for seed in range(1, 9):
        contents.append(tiny(seed))
        manifests.append(repo.run("git", "hash-object", "-w", "--path", MODEL, "--stdin", stdin=contents[-1]).stdout)
    lines = []
    for number in range(COMMITS):
        # A manifest may be any of the eight; each commit changes it, as a day of training would.
        blob = manifests[number % len(manifests)].decode().strip()
        lines.append(
            f"commit refs/heads/main\ncommitter Ada <ada@example.com> {1_700_000_000 + number} +0000\ndata 1\nx\n"
            + ("from refs/heads/main^0\n" if number == 0 else "")
            + f"M 100644 {blob} {MODEL}\n"
        )
    repo.git("fast-import", "--quiet", stdin="\n".join(lines).encode())
    repo.git("reset", "--quiet", "--hard")
    return repo, contents[(COMMITS - 1) % len(contents)]


def tiny(seed: int) -> bytes:
    from safetensors.numpy import save

    content: bytes = save({name: noise(name, seed, 8192) for name in ("weight", "bias")})
    return content


@pytest.mark.parametrize("kind", ["to a server", "to a path"])
def test_the_last_of_thousands_of_commits(
    long_history: tuple[GitRepo, bytes], host: Host, tmp_path: Path, kind: str
) -> None:
    """Pushing it starts a handful of processes (about 20 for git-lfs, 10 for Git's own part) and sends what is new."""
    repo, last = long_history
    trace = tmp_path / "trace"
    if kind == "to a server":
        repo.git("remote", "add", "origin", host.create(repo))
    else:
        bare(repo)
    repo.git("push", "--quiet", "origin", "main")
    before = oids(repo)
    repo.write(MODEL, tiny(99))
    repo.commit("the last")
    host.requests.clear()
    started = processes(repo, trace, "push", "--quiet", "origin", "main")
    assert len(started) < (60 if kind == "to a server" else 30), started
    if kind == "to a server":
        assert [set(batch) for batch in host.batches("upload")] == [oids(repo) - before]
        assert host.count("POST", BATCH) == 1
        assert set(pointers(repo, "origin")) == oids(repo)
    else:
        assert {path.name for path in there(repo.at(repo.path.parent / "origin.git"))} == oids(repo)
    copy = clone(repo, repo.git("remote", "get-url", "origin"), "copy", "--depth=2")
    check_whole(copy, tiny(99))
    copy.git("checkout", "--quiet", "HEAD~1")
    assert copy.read(MODEL) == last
