"""A Git host on loopback: Git by ``git http-backend``, Git LFS by giftless, and whatever can go wrong in between.

Both engines are real. A front in the test's own process passes requests on, remembers them, and answers some of
them wrongly where a test says so. What always holds: faults are tied to requests, never to time; the host stops
with its test.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

ORGANISATION = "team"
BATCH = r"/objects/batch$"
OBJECT = r"/objects/storage/[0-9a-f]{64}"
VERIFY = r"/objects/storage/verify$"
GIT = r"\.git/(?!info/lfs)"
_PROGRAM = Path(__file__).with_name("giftless_process.py")
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "server", "date"}


@dataclass(frozen=True)
class Request:
    """One request as it came; ``body`` is empty where a fault answered before it was read."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Fault:
    """How the next ``times`` requests of ``method`` whose path matches ``path`` are mistreated.

    ``status`` answers with that number; ``cut`` ends the connection after so many bytes of the body, theirs for a PUT
    and ours otherwise; ``anonymous`` spares whoever sends credentials; ``act`` runs before anything else.
    """

    method: str
    path: str
    times: int = 1 << 30
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    anonymous: bool = False
    act: Callable[[], None] | None = None

    def hits(self, request: Request) -> bool:
        """Whether this request is one of them; counts it."""
        known = self.anonymous and "authorization" in request.headers
        if not self.times or known or request.method != self.method or not re.search(self.path, request.path):
            return False
        self.times -= 1
        return True


class _Server(ThreadingHTTPServer):
    """A thread for each connection; one that breaks is the client's to report."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


class Host:
    """What a test holds in its hand: addresses, the requests so far, the faults to come, the objects on disk."""

    def __init__(self, folder: Path, giftless: int, storage: Path) -> None:
        self.repositories = folder / "host"
        self.repositories.mkdir()
        self.giftless = giftless
        self._storage = storage
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Front", (_Front,), {"host": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # A name of its own for each test, since giftless serves all of them.
        self.organisation = f"{ORGANISATION}{self._server.server_port}-{folder.name}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def create(self, user: GitRepo, name: str = "model") -> str:
        """An empty bare repository; returns its address, from which git-lfs derives the server's own."""
        path = self.folder(name)
        path.mkdir(parents=True)
        user.at(path).git("init", "--quiet", "--bare")
        return f"{self.url}/{self.organisation}/{name}.git"

    def folder(self, name: str = "model") -> Path:
        """Where the bare repository lies."""
        return self.repositories / self.organisation / f"{name}.git"

    def lfs_url(self, name: str = "model") -> str:
        """The LFS server's address, for a Git remote that is somewhere else."""
        return f"{self.url}/{self.organisation}/{name}"

    def lfs_folder(self, name: str = "model") -> Path:
        """Where the LFS objects of a repository lie."""
        return self._storage / self.organisation / name

    def objects(self, name: str = "model") -> dict[str, Path]:
        """The LFS objects the server has, by oid."""
        folder = self.lfs_folder(name)
        return {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}

    def batches(self, operation: str) -> list[list[str]]:
        """The oids of each batch question so far, for ``download`` or ``upload``."""
        asked = [json.loads(r.body) for r in self.requests if re.search(BATCH, r.path) and r.body]
        return [[o["oid"] for o in one["objects"]] for one in asked if one["operation"] == operation]

    def count(self, method: str, path: str) -> int:
        """How many requests so far were of ``method`` and matched ``path``."""
        return sum(r.method == method and re.search(path, r.path) is not None for r in self.requests)

    def fault(self, request: Request) -> Fault | None:
        """What is to go wrong with this request, if anything."""
        with self.lock:
            return next((fault for fault in self.faults if fault.hits(request)), None)


class _Front(BaseHTTPRequestHandler):
    """Passes one request on, or mistreats it."""

    host: Host
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers)
        fault = self.host.fault(request)
        with contextlib.suppress(OSError):
            if fault and fault.act:
                fault.act()
            if fault and fault.cut is not None and self.command == "PUT":
                self._note(request)
                self.rfile.read(fault.cut)
                return self._hang_up()
            request = Request(self.command, self.path, headers, self._body())
            self._note(request)
            if fault and fault.status:
                return self._reply(fault.status, fault.headers, b'{"message": "the test says so"}')
            status, answered, body = self._git(request) if re.search(GIT, self.path) else self._lfs(request)
            first = re.fullmatch(r"bytes=([0-9]+)-.*", headers.get("range", ""))
            if first and status == 200:  # which giftless does not know
                start = int(first[1])
                answered = {**answered, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
                status, body = 206, body[start:]
            self._reply(status, answered, body, fault.cut if fault else None)
        return None

    do_GET = do_POST = do_PUT = handle_any

    def _note(self, request: Request) -> None:
        with self.host.lock:
            self.host.requests.append(request)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _lfs(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.host.giftless, timeout=60)
        # The host's name goes along, since giftless builds addresses from it.
        kept = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        connection.request(request.method, request.path, request.body, kept)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def _git(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        """The Common Gateway Interface, as far as ``git http-backend`` needs it."""
        path, _, query = request.path.partition("?")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_PROJECT_ROOT": str(self.host.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "REQUEST_METHOD": request.method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "REMOTE_USER": "ada",
            "REMOTE_ADDR": "127.0.0.1",
        }
        answer = subprocess.run(
            ["git", "http-backend"], env=environment, input=request.body, capture_output=True, check=False
        ).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        return int(headers.pop("Status", "200 OK").split()[0]), headers, body

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def start_giftless(folder: Path) -> tuple[subprocess.Popen[bytes], int, Path]:
    """The process, its port, and the folder of its objects."""
    storage = folder / "storage"
    storage.mkdir()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, _PROGRAM, storage], stdout=subprocess.PIPE, stderr=log)
    if process.stdout is None:
        raise AssertionError("a pipe was asked for")
    line = process.stdout.readline()
    if not line.strip().isdigit():
        pytest.fail(f"giftless did not start: {(folder / 'log').read_text()}")
    return process, int(line), storage


def require_tools() -> None:
    """Skip where git-lfs or giftless is not installed; in CI that is a failure."""
    absent = [
        name
        for name, found in (("git-lfs", shutil.which("git-lfs")), ("giftless", find_spec("giftless")))
        if found is None
    ]
    if absent:
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop(f"needs {' and '.join(absent)}: ./setup_hooks.sh --test installs both")


@pytest.fixture(scope="session")
def giftless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """One giftless for all tests of this process: its port and the folder of its objects."""
    require_tools()
    process, port, storage = start_giftless(tmp_path_factory.mktemp("giftless"))
    yield port, storage
    process.terminate()
    process.communicate()


@pytest.fixture
def host(giftless: tuple[int, Path], tmp_path: Path) -> Iterator[Host]:
    """A Git host with nothing on it."""
    running = Host(tmp_path, *giftless)
    yield running
    running.stop()


@pytest.fixture
def without_git_lfs(tmp_path: Path) -> str:
    """A PATH with every program but git-lfs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    places = [Path(sys.executable).parent, *map(Path, os.environ.get("PATH", os.defpath).split(os.pathsep))]
    for place in reversed([place for place in places if place.is_dir()]):
        for program in place.iterdir():
            if program.name != "git-lfs":
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return str(folder)
