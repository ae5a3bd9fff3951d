"""What an LFS server has: asked of a server in this process, which may be honest, hostile or ill."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from git_theta.lfs import web
from git_theta.lfs.probe import probe
from git_theta.lfs.server import CannotAsk, find_server
from git_theta.model import Oid, StoredObject

pytestmark = pytest.mark.skipif(not shutil.which("git-lfs"), reason="git-lfs says where the server is")


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """One answer as it goes. Without ``length`` there is no Content-Length, and the connection closes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: bool = True


@dataclass
class Host:
    """A server that answers by ``respond`` and remembers what it was asked."""

    url: str
    respond: Callable[[Request], Reply]
    requests: list[Request] = field(default_factory=list)


def serve() -> Iterator[Host]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, dict(self.headers.items()), body)
            made.requests.append(request)
            reply = made.respond(request)
            self.send_response(reply.status)
            if reply.length:
                self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(reply.body)
            except OSError:  # who asked has seen enough
                self.close_connection = True

        do_GET = do_POST = handle_any

        def log_message(self, format: str, *arguments: object) -> None:
            """Tests look at the requests instead."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Host(f"http://127.0.0.1:{server.server_address[1]}", lambda request: Reply(404))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def host() -> Iterator[Host]:
    yield from serve()


@pytest.fixture
def elsewhere() -> Iterator[Host]:
    yield from serve()


@pytest.fixture
def repo(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose LFS server is ``host``, of a user with nothing else configured."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_SSH", "GIT_ASKPASS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setattr(web, "PAUSE", 0.0)
    path = tmp_path / "repo"
    subprocess.run(["git", "init", "--quiet", path], check=True)
    configure(path, "lfs.url", f"{host.url}/org/repo")
    return path


def configure(repo: Path, key: str, value: str) -> None:
    subprocess.run(["git", "config", "--add", key, value], cwd=repo, check=True)


def stored(count: int) -> list[StoredObject]:
    return [StoredObject(Oid(f"{n:064x}"), 1000 + n) for n in range(count)]


ONE = stored(1)
OID = ONE[0].oid


def batch(host: Host, lacked: tuple[str, ...] = (), where: str = "/bytes/") -> Callable[[Request], Reply]:
    """An honest server: a batch API, and every object it says it has, by ranges."""

    def respond(request: Request) -> Reply:
        if request.method == "POST":
            objects = json.loads(request.body)["objects"]
            return answer([offer(one, host.url + where) for one in objects if one["oid"] not in lacked])
        size = 1000 + int(request.path.rpartition("/")[2], 16)
        return Reply(206, b"\x89", {"Content-Range": f"bytes 0-0/{size}"})

    return respond


def offer(one: dict[str, Any], base: str) -> dict[str, Any]:
    return {**one, "actions": {"download": {"href": base + one["oid"]}}}


def answer(objects: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps({"transfer": "basic", "objects": objects}).encode())


def ask(repo: Path, objects: list[StoredObject] = ONE, thorough: bool = False) -> dict[Oid, str]:
    return dict(probe(repo, "origin", None, objects, thorough=thorough))


class TestQuestion:
    def test_what_the_server_offers_is_there(self, host: Host, repo: Path) -> None:
        host.respond = batch(host)
        assert ask(repo, stored(3)) == {}
        [request] = host.requests
        assert request.path == "/org/repo/objects/batch"
        assert request.headers["Accept"] == request.headers["Content-Type"] == "application/vnd.git-lfs+json"
        question = json.loads(request.body)
        assert question["operation"] == "download"
        assert question["objects"] == [{"oid": one.oid, "size": one.size} for one in stored(3)]

    def test_a_hundred_objects_are_one_question(self, host: Host, repo: Path) -> None:
        host.respond = batch(host)
        assert ask(repo, stored(201)) == {}
        assert [len(json.loads(request.body)["objects"]) for request in host.requests] == [100, 100, 1]

    def test_nothing_is_not_asked(self, host: Host, repo: Path) -> None:
        assert ask(repo, []) == {}
        assert host.requests == []

    def test_a_remote_without_a_name_is_asked_too(self, host: Host, repo: Path) -> None:
        subprocess.run(["git", "config", "--unset", "lfs.url"], cwd=repo, check=True)
        host.respond = batch(host)
        assert probe(repo, "git-theta-address", f"{host.url}/org/repo", ONE) == {}
        assert host.requests[0].path == "/org/repo.git/info/lfs/objects/batch"

    def test_the_remote_that_is_asked_need_not_be_the_default(self, host: Host, repo: Path) -> None:
        subprocess.run(["git", "config", "--unset", "lfs.url"], cwd=repo, check=True)
        configure(repo, "remote.origin.url", "https://origin.invalid/a.git")
        configure(repo, "remote.backup.url", f"{host.url}/b.git")
        host.respond = batch(host)
        assert probe(repo, "backup", None, ONE) == {}
        assert host.requests[0].path == "/b.git/info/lfs/objects/batch"


class TestLacked:
    def test_an_error_of_one_object_is_its_own(self, host: Host, repo: Path) -> None:
        def respond(request: Request) -> Reply:
            first, *others = json.loads(request.body)["objects"]
            gone = {**first, "error": {"code": 404, "message": "Object does\x1b[2J not\nexist"}}
            return answer([gone, *(offer(one, host.url) for one in others)])

        host.respond = respond
        assert ask(repo, stored(3)) == {OID: "the server says: Object does [2J not exist"}

    def test_silence_is_absence(self, host: Host, repo: Path) -> None:
        host.respond = batch(host, lacked=(OID,))
        assert ask(repo, stored(3)) == {OID: "the server says nothing of it"}

    def test_another_size_is_absence(self, host: Host, repo: Path) -> None:
        host.respond = lambda request: answer([{"oid": OID, "size": 7, "actions": {"download": {"href": "http://x"}}}])
        assert ask(repo) == {OID: "the server has 7 bytes of it, expected 1000"}

    @pytest.mark.parametrize("error", ["no", {"code": 500}, [], 5, {"message": None}])
    def test_an_error_of_any_shape_is_absence(self, host: Host, repo: Path, error: object) -> None:
        host.respond = lambda request: answer([{"oid": OID, "size": 1000, "error": error}])
        assert list(ask(repo)) == [OID]


class TestThorough:
    def test_begins_every_download(self, host: Host, repo: Path) -> None:
        host.respond = batch(host)
        assert ask(repo, stored(120), thorough=True) == {}
        begun = [request for request in host.requests if request.method == "GET"]
        assert sorted(request.path.rpartition("/")[2] for request in begun) == [one.oid for one in stored(120)]
        assert {request.headers["Range"] for request in begun} == {"bytes=0-0"}

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (Reply(404), "answers 404"),
            (Reply(403), "answers 403"),
            (Reply(200, b""), "answers 200"),
            (Reply(206, b"x", {"Content-Range": "bytes 0-0/999"}), "has 999 bytes of 1,000"),
            (Reply(206, b"x" * 999, {"Content-Range": "bytes 0-998/999"}), "has 999 bytes of 1,000"),
            (Reply(200, b"x" * 999), "has 999 bytes of 1,000"),
            (Reply(200, b"<html>Please log in</html>"), "has 26 bytes of 1,000"),
        ],
    )
    def test_a_server_that_lies_is_found(self, host: Host, repo: Path, reply: Reply, reason: str) -> None:
        honest = batch(host)
        host.respond = lambda request: honest(request) if request.method == "POST" else reply
        assert ask(repo) == {}
        lacking = ask(repo, thorough=True)
        assert reason in lacking[OID]

    def test_a_server_without_ranges_is_believed_after_its_first_byte(self, host: Host, repo: Path) -> None:
        honest = batch(host)
        host.respond = lambda request: honest(request) if request.method == "POST" else Reply(200, b"x" * 1000)
        assert ask(repo, thorough=True) == {}

    def test_the_length_of_a_packed_answer_is_not_the_size_of_the_object(self, host: Host, repo: Path) -> None:
        honest, packed = batch(host), Reply(200, b"x" * 99, {"Content-Encoding": "gzip"})
        host.respond = lambda request: honest(request) if request.method == "POST" else packed
        assert ask(repo, thorough=True) == {}

    @pytest.mark.parametrize(
        "href",
        [
            "file:///etc/passwd",
            "ftp://127.0.0.1/x",
            "//127.0.0.1/x",
            "/relative",
            "http://127.0.0.1:99999999/",
            "http://[::1/",
            "http://a b/",
            "http://127.0.0.1/a\nb: c",
            "data:text/plain,x",
            "",
        ],
    )
    def test_an_address_that_is_none_is_not_opened(self, host: Host, repo: Path, href: str) -> None:
        host.respond = lambda request: answer([{"oid": OID, "actions": {"download": {"href": href}}}])
        assert "says it has it" in ask(repo, thorough=True)[OID]

    @pytest.mark.parametrize(
        "download",
        [
            None,
            5,
            [],
            {},
            {"href": 5},
            {"href": "http://127.0.0.1/", "header": 5},
            {"href": "http://127.0.0.1/", "header": {"a": 5}},
            {"href": "http://127.0.0.1/", "header": {"a\nb": "c"}},
            {"href": "http://127.0.0.1/", "header": {"a": "b\r\nc: d"}},
            {"href": "http://127.0.0.1/", "header": {str(n): "x" for n in range(99)}},
        ],
    )
    def test_an_action_that_is_none_is_absence(self, host: Host, repo: Path, download: object) -> None:
        host.respond = lambda request: answer([{"oid": OID, "actions": {"download": download}}])
        assert ask(repo, thorough=True) == {OID: "the server says it has it, and not where"}

    def test_the_servers_headers_go_along_and_ours_stay_at_home(self, host: Host, elsewhere: Host, repo: Path) -> None:
        configure(repo, "http.extraHeader", "Authorization: Bearer secret")
        action = {"href": f"{elsewhere.url}/x", "header": {"X-Signed": "yes", "Range": "bytes=5-"}}
        host.respond = lambda request: answer([{"oid": OID, "actions": {"download": action}}])
        elsewhere.respond = lambda request: Reply(206, b"x", {"Content-Range": "bytes 0-0/1000"})
        assert ask(repo, thorough=True) == {}
        assert host.requests[0].headers["Authorization"] == "Bearer secret"
        [begun] = elsewhere.requests
        assert "Authorization" not in begun.headers
        assert (begun.headers["X-Signed"], begun.headers["Range"]) == ("yes", "bytes=0-0")

    def test_the_same_server_gets_our_credentials_unless_the_address_is_the_permission(
        self, host: Host, repo: Path
    ) -> None:
        configure(repo, "http.extraHeader", "Authorization: Bearer secret")
        honest = batch(host)
        host.respond = honest
        assert ask(repo, thorough=True) == {}
        host.respond = lambda request: (
            answer([{**offer({"oid": OID}, f"{host.url}/bytes/"), "authenticated": True}])
            if request.method == "POST"
            else honest(request)
        )
        assert ask(repo, thorough=True) == {}
        begun = [request for request in host.requests if request.method == "GET"]
        assert ["Authorization" in request.headers for request in begun] == [True, False]


class TestHostileAnswers:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>Welcome</html>",
            b"\xff\xfe\x00",
            b"[]",
            b"null",
            b"{}",
            b'{"objects": 5}',
            b'{"objects": {"a": 1}}',
            b"[" * 100_000,
            b'{"objects": ' + b"[" * 100_000,
            b"9" * 100_000,
        ],
        ids=lambda body: repr(body[:20]),
    )
    def test_what_is_no_answer_is_an_error(self, host: Host, repo: Path, body: bytes) -> None:
        host.respond = lambda request: Reply(200, body)
        with pytest.raises(CannotAsk, match="is no LFS server"):
            ask(repo)

    @pytest.mark.parametrize("one", [None, 5, "x", [], {}, {"oid": 5}, {"oid": None}, {"oid": "f" * 64}])
    def test_an_entry_that_is_none_of_ours_says_nothing(self, host: Host, repo: Path, one: object) -> None:
        host.respond = lambda request: answer([one])
        assert ask(repo, thorough=True) == {OID: "the server says nothing of it"}

    @pytest.mark.parametrize("length", [True, False])
    def test_an_endless_answer_is_cut(self, host: Host, repo: Path, length: bool) -> None:
        host.respond = lambda request: Reply(200, b" " * (5 << 20), length=length)
        with pytest.raises(CannotAsk, match="longer than"):
            ask(repo)

    def test_words_of_the_server_are_safe_to_show(self, host: Host, repo: Path) -> None:
        body = json.dumps({"message": "\x1b]0;gotcha\x07" + "x" * 10_000}).encode()
        host.respond = lambda request: Reply(403, body)
        with pytest.raises(CannotAsk) as caught:
            ask(repo)
        assert "403" in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize(("status", "said"), [(403, "you may not read"), (413, "413"), (501, "501")])
    def test_a_refusal_is_an_error_that_says_what_it_means(
        self, host: Host, repo: Path, status: int, said: str
    ) -> None:
        host.respond = lambda request: Reply(status)
        with pytest.raises(CannotAsk, match=said):
            ask(repo)

    def test_a_server_that_knows_none_of_them_has_none_of_them(self, host: Host, repo: Path) -> None:
        host.respond = lambda request: Reply(404)
        lacking = ask(repo)
        assert list(lacking) == [OID]
        assert all("there is no LFS server" in reason for reason in lacking.values())


class TestPassingTrouble:
    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_what_passes_is_asked_again(self, host: Host, repo: Path, status: int) -> None:
        honest = batch(host)
        host.respond = lambda request: Reply(status) if len(host.requests) < 3 else honest(request)
        assert ask(repo) == {}
        assert len(host.requests) == 3

    def test_what_does_not_pass_is_an_error(self, host: Host, repo: Path) -> None:
        host.respond = lambda request: Reply(500)
        with pytest.raises(CannotAsk, match="500"):
            ask(repo)
        assert len(host.requests) == 3

    def test_a_server_that_is_down_is_an_error(self, repo: Path) -> None:
        configure(repo, "lfs.url", "http://127.0.0.1:1/x")
        with pytest.raises(CannotAsk, match=r"127\.0\.0\.1:1"):
            ask(repo)


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_the_question_is_repeated_where_the_server_went(
        self, host: Host, elsewhere: Host, repo: Path, status: int
    ) -> None:
        configure(repo, "http.extraHeader", "Authorization: Bearer secret")
        host.respond = lambda request: Reply(status, b"", {"Location": f"{elsewhere.url}/moved"})
        elsewhere.respond = batch(elsewhere)
        assert ask(repo) == {}
        assert elsewhere.requests[0].body == host.requests[0].body
        assert "Authorization" not in elsewhere.requests[0].headers

    @pytest.mark.parametrize("target", ["/org/repo/objects/batch", "file:///etc/passwd", "ftp://x/", "http://["])
    def test_a_circle_and_another_protocol_end_it(self, host: Host, repo: Path, target: str) -> None:
        host.respond = lambda request: Reply(302, b"", {"Location": target})
        with pytest.raises(CannotAsk):
            ask(repo)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class TestCredentials:
    """Who asks is known the way Git knows it."""

    @pytest.fixture
    def helper(self, repo: Path) -> Path:
        """A credential helper that knows ada, and writes down what it is told."""
        log = repo.parent / "log"
        script = repo.parent / "helper"
        script.write_text(
            f'#!/bin/sh\necho "$1" >>"{log}"\ncat >>"{log}"\n'
            'if [ "$1" = get ]; then echo username=ada; echo "password=pass word"; fi\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        configure(repo, "credential.helper", str(script))
        return log

    def locked(self, host: Host, key: str) -> Callable[[Request], Reply]:
        honest = batch(host)
        return lambda request: honest(request) if request.headers.get("Authorization") == key else Reply(401)

    def test_a_helper_is_asked_once_and_told_that_it_was_right(self, host: Host, repo: Path, helper: Path) -> None:
        host.respond = self.locked(host, basic("ada", "pass word"))
        assert ask(repo, stored(150), thorough=True) == {}
        words = helper.read_text().splitlines()
        assert [word for word in words if "=" not in word] == ["get", "store"]
        assert f"host={host.url.removeprefix('http://')}" in words
        assert [request.headers.get("Authorization") is None for request in host.requests].count(True) == 1

    def test_a_helper_that_is_wrong_is_told_so(self, host: Host, repo: Path, helper: Path) -> None:
        host.respond = lambda request: Reply(401)
        with pytest.raises(CannotAsk, match="401, it does not accept user and password"):
            ask(repo)
        assert [word for word in helper.read_text().splitlines() if "=" not in word] == ["get", "erase"]
        assert len(host.requests) == 2

    def test_nobody_to_ask_is_an_error(self, host: Host, repo: Path) -> None:
        host.respond = lambda request: Reply(401)
        with pytest.raises(CannotAsk, match="wants a user and a password, and Git knows none"):
            ask(repo)

    def test_a_user_in_the_address_is_used_and_never_shown(self, host: Host, repo: Path) -> None:
        configure(repo, "lfs.url", host.url.replace("http://", "http://ada:s3%20cret@") + "/org/repo")
        host.respond = self.locked(host, basic("ada", "s3 cret"))
        assert ask(repo) == {}
        host.respond = lambda request: Reply(403)
        with pytest.raises(CannotAsk) as caught:
            ask(repo)
        assert "s3" not in str(caught.value)

    def test_a_netrc_is_read(self, host: Host, repo: Path) -> None:
        netrc = repo.parent / ".netrc"
        netrc.write_text("machine 127.0.0.1 login ada password netrcpass\n")
        netrc.chmod(0o600)
        host.respond = self.locked(host, basic("ada", "netrcpass"))
        assert ask(repo) == {}


class TestSsh:
    """An SSH remote hands out address and token."""

    @pytest.fixture
    def ssh(self, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A program in place of ssh that writes down its arguments and answers with the file ``answer``."""
        subprocess.run(["git", "config", "--unset-all", "lfs.url"], cwd=repo, check=True)
        script = repo.parent / "my ssh"
        script.write_text(
            f'#!/bin/sh\nfor word; do echo "[$word]"; done >"{repo.parent}/said"\ncat "{repo.parent}/answer"\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("GIT_SSH_COMMAND", f"'{script}' -v")
        return repo.parent

    def test_the_address_and_the_token_are_used(self, host: Host, repo: Path, ssh: Path) -> None:
        configure(repo, "remote.origin.url", "ssh://git@example.invalid:2222/org/my repo.git")
        (ssh / "answer").write_text(json.dumps({"href": f"{host.url}/lfs", "header": {"Authorization": "T"}}))
        host.respond = batch(host)
        assert ask(repo) == {}
        assert host.requests[0].path == "/lfs/objects/batch"
        assert host.requests[0].headers["Authorization"] == "T"
        assert (ssh / "said").read_text().splitlines() == [
            "[-v]",
            "[-p]",
            "[2222]",
            "[--]",
            "[git@example.invalid]",
            "[git-lfs-authenticate '/org/my repo.git' download]",
        ]

    def test_git_s_configuration_names_the_program_too(
        self, host: Host, repo: Path, ssh: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("GIT_SSH_COMMAND")
        configure(repo, "core.sshCommand", f"'{ssh}/my ssh' -q")
        configure(repo, "remote.origin.url", "git@example.invalid:org/repo.git")
        (ssh / "answer").write_text(json.dumps({"href": f"{host.url}/lfs"}))
        assert find_server(repo, "origin", None).url == f"{host.url}/lfs"
        assert (ssh / "said").read_text().splitlines()[:3] == ["[-q]", "[--]", "[git@example.invalid]"]

    @pytest.mark.parametrize(
        "said",
        [
            "",
            "Welcome to example!",
            "[]",
            '{"href": 5}',
            '{"href": "file:///etc"}',
            '{"header": {"a": "b\\nc"}}',
            "x" * (2 << 20),
        ],
        ids=lambda said: said[:20],
    )
    def test_another_answer_is_an_error(self, repo: Path, ssh: Path, said: str) -> None:
        configure(repo, "remote.origin.url", "git@example.invalid:org/repo.git")
        (ssh / "answer").write_text(said)
        with pytest.raises(CannotAsk, match=r"git@example\.invalid"):
            ask(repo)

    def test_a_program_that_fails_is_an_error(self, repo: Path, ssh: Path) -> None:
        configure(repo, "remote.origin.url", "git@example.invalid:org/repo.git")
        with pytest.raises(CannotAsk, match="exit code 1"):
            ask(repo)


class TestWhereThereIsNoServer:
    def test_a_transfer_agent_cannot_be_asked(self, repo: Path) -> None:
        configure(repo, "lfs.standalonetransferagent", "rsync")
        with pytest.raises(CannotAsk, match="transfer agent rsync"):
            ask(repo)

    def test_a_folder_cannot_be_asked(self, repo: Path) -> None:
        configure(repo, "lfs.url", f"file://{repo}")
        with pytest.raises(CannotAsk, match="only file://"):
            ask(repo)

    def test_an_unknown_remote_has_none(self, repo: Path) -> None:
        subprocess.run(["git", "config", "--unset-all", "lfs.url"], cwd=repo, check=True)
        with pytest.raises(CannotAsk, match="origin has no LFS server"):
            ask(repo)
