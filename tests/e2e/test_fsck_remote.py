"""``git theta fsck --remote`` says what a remote lacks; ``fsck`` and ``fetch`` together repair what is damaged here."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import GitRepo
from tests.e2e.support import MODEL, object_path, objects, restored, status, track_checkpoints, unrelated


@pytest.fixture
def work(repo: GitRepo) -> GitRepo:
    """Two pushed versions, on a bare remote beside the repository."""
    track_checkpoints(repo)
    repo.git("init", "--quiet", "--bare", "../remote.git")
    repo.git("remote", "add", "origin", "../remote.git")
    for seed in (1, 2):
        repo.write(MODEL, unrelated(seed))
        repo.commit(f"version {seed}")
    repo.git("push", "--quiet", "-u", "origin", "main")
    return repo


def there(repo: GitRepo) -> list[Path]:
    """The remote's objects."""
    folder = repo.path.parent / "remote.git" / "theta" / "objects"
    return sorted(path for path in folder.rglob("*") if path.is_file())


def damage(path: Path) -> None:
    """Flip a bit in a file of its own; the hard link that others share stays good."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def report(repo: GitRepo, *options: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(repo.theta("fsck", "--remote", *options, "--json", code=code))
    return found


def test_a_remote_that_has_everything_is_good(work: GitRepo) -> None:
    assert report(work) == {"remote": "origin", "objects": len(objects(work)), "lacking": []}
    assert f"origin has all {len(objects(work))} objects" in work.theta("fsck", "--remote")
    assert work.theta("fsck", "--remote", "origin") == work.theta("fsck", "--remote")


def test_what_is_not_pushed_is_not_asked_for(work: GitRepo) -> None:
    before = len(objects(work))
    work.write(MODEL, unrelated(3))
    work.commit("mine")
    assert report(work)["objects"] == before


def test_a_tag_alone_counts_as_pushed(work: GitRepo) -> None:
    work.git("checkout", "--quiet", "--detach")
    work.write(MODEL, unrelated(3))
    work.commit("tagged")
    work.git("tag", "v3")
    work.git("push", "--quiet", "origin", "v3")
    work.git("checkout", "--quiet", "main")
    assert report(work)["objects"] == len(objects(work))


@pytest.mark.parametrize("harm", [Path.unlink, damage], ids=["gone", "damaged"])
def test_what_a_remote_lacks_is_named_and_a_push_mends_it(work: GitRepo, harm: Any) -> None:
    lost = there(work)[0]
    harm(lost)
    [row] = report(work, "origin", code=5)["lacking"]
    assert (row["oid"], row["path"], row["here"]) == (lost.name, MODEL, True)
    said = work.theta("fsck", "--remote", code=5)
    assert lost.name in said
    assert "to send what is here: git theta push origin --all" in said
    lost.unlink(missing_ok=True)
    work.theta("push", "origin", "--all")
    assert report(work)["lacking"] == []


def test_what_is_nowhere_is_said_to_be_nowhere(work: GitRepo) -> None:
    lost = there(work)[0]
    lost.unlink()
    object_path(work, lost.name).unlink()
    assert report(work, code=5)["lacking"][0]["here"] is False
    assert "must come from another clone" in work.theta("fsck", "--remote", code=5)


def test_a_push_without_the_hook_is_found(work: GitRepo) -> None:
    work.write(MODEL, unrelated(3))
    work.commit("mine")
    work.git("push", "--quiet", "--no-verify")
    assert len(report(work, code=5)["lacking"]) == len(objects(work)) - len(there(work))
    work.theta("push")
    assert report(work)["lacking"] == []


def test_an_address_can_be_checked_too(work: GitRepo) -> None:
    there(work)[0].unlink()
    assert len(report(work, "../remote.git", code=5)["lacking"]) == 1


def test_without_a_remote_it_says_what_to_type(repo: GitRepo) -> None:
    said = repo.run("git", "theta", "fsck", "--remote", code=2).stderr
    assert b"git theta fsck --remote NAME" in said


def test_a_remote_that_is_away_is_an_error_not_a_finding(work: GitRepo) -> None:
    shutil.move(work.path.parent / "remote.git", work.path.parent / "away")
    assert work.run("git", "theta", "fsck", "--remote", code=None).returncode not in (0, 4, 5)


def test_a_server_that_is_away_is_named_with_its_remote(work: GitRepo) -> None:
    work.git("config", "lfs.url", "http://127.0.0.1:9/none")
    said = work.run("git", "theta", "fsck", "--remote", code=1).stderr.decode()
    assert said.startswith("git-theta: origin: http://127.0.0.1:9/none")
    assert "hint: git lfs env shows the server" in said


@pytest.fixture
def liar(work: GitRepo) -> Iterator[GitRepo]:
    """``work`` with an LFS server that claims to have every object and sends none."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            href = f"http://{self.headers['Host']}/nothing"
            offered = [{**one, "actions": {"download": {"href": href}}} for one in asked["objects"]]
            body = json.dumps({"objects": offered}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    work.git("config", "lfs.url", f"http://127.0.0.1:{server.server_address[1]}")
    yield work
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs")
def test_a_server_that_lies_is_found(liar: GitRepo) -> None:
    rows = report(liar, code=5)["lacking"]
    assert len(rows) == len(objects(liar))
    assert "says it has it, and answers 404" in rows[0]["reason"]


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs")
def test_prune_believes_no_liar(liar: GitRepo) -> None:
    before = objects(liar)
    liar.git("reflog", "expire", "--expire=now", "--all")
    for path in before:
        os.utime(path, (1, 1))
    assert liar.theta("prune", "--verify-remote").startswith("removed 0 objects")
    assert objects(liar) == before


def test_fetch_brings_what_fsck_moved_away(work: GitRepo) -> None:
    for path in objects(work):
        damage(path)
    moved = json.loads(work.theta("fsck", "--json", code=4))["moved"]
    assert sorted(moved) == sorted(path.name for path in there(work))
    assert objects(work) == []
    work.theta("fetch", "--all")
    assert json.loads(work.theta("fsck", "--json"))["findings"] == []
    for seed, revision in ((2, "main"), (1, "main~1")):
        work.git("checkout", "--quiet", "--detach", revision)
        assert restored(work) == unrelated(seed)
        assert status(work) == ""


def test_a_fresh_clone_is_good_although_older_versions_are_elsewhere(work: GitRepo) -> None:
    clone = work.at(work.path.parent / "clone")
    work.git("clone", "--quiet", "../remote.git", clone.path)
    assert len(objects(clone)) < len(objects(work))
    found = json.loads(clone.theta("fsck", "--json"))
    assert found["findings"] == []
    assert found["on_remotes"] == len(objects(work)) - len(objects(clone))
    for path in objects(clone):
        path.unlink()
    assert {one["what"] for one in json.loads(clone.theta("fsck", "--json", code=5))["findings"]} == {"missing"}
