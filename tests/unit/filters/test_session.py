"""The long-running filter protocol, on buffers in memory: what Git sends, what it gets, and in which order."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from git_theta.errors import ThetaError
from git_theta.filters.session import Service, Session, Smudged
from git_theta.gitio.pktline import MAX_PAYLOAD, ContentReader, ProtocolError
from tests.unit.gitio.packets import Trickle, content, flush, lists, packets, text
from tests.unit.tensors.bench import noise

HELLO = text("git-filter-client", "version=2") + text("capability=clean", "capability=smudge", "capability=delay")


def request(command: str, path: str, data: bytes | None = b"", **more: str) -> bytes:
    """One request with its content; without any for None."""
    fields = [f"command={command}", f"pathname={path}", *(f"{k.replace('_', '-')}={v}" for k, v in more.items())]
    return text(*fields) + (b"" if data is None else content(data))


class Server:
    """A service that answers with its input reversed, and remembers what happened."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.errors: list[tuple[str, str]] = []
        self.missing: set[str] = set()
        self.gathered = 0

    def clean(self, path: str, content: ContentReader) -> bytes:
        data = bytearray()
        block = memoryview(bytearray(1000))
        if path.startswith("fails at once"):
            raise ThetaError("cannot")
        while count := content.readinto(block):
            data += block[:count]
            if path.startswith("fails in the middle"):
                raise OSError(28, "No space left on device")
        self.seen.append(("clean", path, bytes(data)))
        if path.startswith("fails at the end"):
            raise MemoryError
        return bytes(data)[::-1]

    def smudge(self, request: Mapping[str, str], text: bytes) -> Smudged:
        path = request["pathname"]
        self.seen.append(("smudge", path, text))
        if path.startswith("fails at once"):
            raise ThetaError("cannot")
        return Smudged(self.parts(path, text))

    def parts(self, path: str, text: bytes) -> Iterator[memoryview]:
        for at in range(0, len(text), 70_000):
            yield memoryview(text[::-1])[at : at + 70_000]
            if path.startswith("fails late"):
                raise {"fails late": ThetaError("damaged"), "fails late, memory": MemoryError()}[path]

    def postpone(self, request: Mapping[str, str], _text: bytes) -> bool:
        return request["pathname"] in self.missing

    def gather(self) -> None:
        self.gathered += 1
        self.missing.clear()

    def complain(self, path: str, error: Exception) -> None:
        self.errors.append((path, type(error).__name__))

    def answer(self, requests: bytes, step: int = 1 << 20) -> list[list[bytes]]:
        """Everything that is answered, as lists of packets; a handshake comes first."""
        out = io.BytesIO()
        session = Session(Trickle(HELLO + requests, step), out)
        session.handshake()
        session.serve(Service(self.clean, self.smudge, self.postpone, self.gather, self.complain))
        return lists(out.getvalue())[2:]


@pytest.fixture
def server() -> Server:
    return Server()


SUCCESS, ERROR = [b"status=success\n"], [b"status=error\n"]


class TestHandshake:
    def shake(self, hello: bytes) -> bytes:
        out = io.BytesIO()
        Session(Trickle(hello), out).handshake()
        return out.getvalue()

    def test_agrees_on_version_2_and_on_what_both_can(self) -> None:
        assert lists(self.shake(HELLO)) == [
            [b"git-filter-server\n", b"version=2\n"],
            [b"capability=clean\n", b"capability=smudge\n", b"capability=delay\n"],
        ]

    def test_offers_nothing_that_git_did_not(self) -> None:
        hello = text("git-filter-client", "version=2") + text("capability=smudge", "capability=teleport")
        assert lists(self.shake(hello))[1] == [b"capability=smudge\n"]

    def test_finds_version_2_among_others(self) -> None:
        assert self.shake(text("git-filter-client", "version=3", "version=2") + text("capability=clean"))

    @pytest.mark.parametrize(
        "hello",
        [
            b"",
            b"00",
            b"0000",
            b"hello world\n",
            text("git-filter-client", "version=1") + text(),
            text("git-filter-client", "version=22") + text(),
            text("git-upload-pack", "version=2") + text(),
            text("git-filter-client")[:-4],
            b"ffff",
            b"0001",
        ],
    )
    def test_refuses_whoever_is_not_git(self, hello: bytes) -> None:
        with pytest.raises(ProtocolError):
            self.shake(hello)


@pytest.mark.parametrize("step", [1, 3, 4, 5, 1000, 65_520, 1 << 20])
class TestRequests:
    @pytest.mark.parametrize("length", [0, 1, 999, 70_000])
    def test_are_answered_wherever_packets_are_split(self, server: Server, step: int, length: int) -> None:
        data = noise(length)
        answer = server.answer(request("clean", "a b") + request("smudge", "ü\n", data), step)
        assert server.seen == [("clean", "a b", b""), ("smudge", "ü\n", data)]
        assert answer[:3] == [SUCCESS, [], []]
        assert answer[3] == SUCCESS
        assert b"".join(answer[4]) == data[::-1]
        assert answer[5:] == [[]]


class TestAnswers:
    @pytest.mark.parametrize("length", [MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 3 << 20])
    def test_of_any_length_are_split_into_packets_git_accepts(self, server: Server, length: int) -> None:
        data = noise(length)
        answer = server.answer(request("clean", "p", data))
        assert b"".join(answer[1]) == data[::-1]
        assert max(map(len, answer[1])) <= MAX_PAYLOAD
        assert min(map(len, answer[1])) > 0

    @pytest.mark.parametrize("path", ["fails at once", "fails in the middle", "fails at the end"])
    def test_a_clean_that_fails_is_an_error_and_the_next_request_is_understood(self, server: Server, path: str) -> None:
        answer = server.answer(request("clean", path, noise(200_000)) + request("clean", "next", b"abc"))
        assert answer == [ERROR, SUCCESS, [b"cba"], []]
        assert [failed for failed, _ in server.errors] == [path]

    def test_a_smudge_that_fails_at_once_is_an_error(self, server: Server) -> None:
        answer = server.answer(request("smudge", "fails at once", b"text") + request("smudge", "next", b"abc"))
        assert answer == [ERROR, SUCCESS, [b"cba"], []]

    @pytest.mark.parametrize("path", ["fails late", "fails late, memory"])
    def test_a_smudge_that_fails_late_takes_its_success_back(self, server: Server, path: str) -> None:
        """Content was on its way: the list after it says error, and Git drops what it got."""
        data = noise(100_000)
        answer = server.answer(request("smudge", path, data) + request("smudge", "next", b"abc"))
        assert answer[0] == SUCCESS
        assert b"".join(answer[1]) == data[::-1][:70_000]
        assert answer[2] == ERROR
        assert answer[3:] == [SUCCESS, [b"cba"], []]
        assert server.errors == [(path, "LateFailure")]

    def test_a_command_nobody_agreed_on_is_an_error(self, server: Server) -> None:
        answer = server.answer(request("paint", "p", b"red") + request("clean", "next", b"abc"))
        assert answer == [ERROR, SUCCESS, [b"cba"], []]
        assert server.errors == [("p", "ProtocolError")]

    def test_content_nobody_reads_is_drained(self, server: Server) -> None:
        answer = server.answer(request("clean", "fails at once", noise(3 << 20)) + request("clean", "next", b"abc"))
        assert answer == [ERROR, SUCCESS, [b"cba"], []]


class TestGitGoing:
    @pytest.mark.parametrize("command", ["clean", "smudge"])
    def test_at_any_byte_ends_the_session_quietly(self, server: Server, command: str) -> None:
        whole = request(command, "p", b"some content")
        for length in range(len(whole)):
            server.answer(whole[:length])
        assert server.errors == []
        assert server.seen == []

    @pytest.mark.parametrize("after", range(8))
    def test_without_reading_our_answer_ends_the_session_quietly(self, server: Server, after: int) -> None:
        class Closed(io.BytesIO):
            writes = 0

            def write(self, data: Any, /) -> int:
                self.writes += 1
                if self.writes > 2 + after:
                    raise BrokenPipeError
                return super().write(data)

        requests = HELLO + request("clean", "a", b"abc") + request("smudge", "b", noise(200_000))
        session = Session(Trickle(requests), Closed())
        session.handshake()
        session.serve(Service(server.clean, server.smudge, server.postpone, server.gather, server.complain))
        assert server.errors == []


class TestDelay:
    def test_gathers_once_for_all_and_then_answers_each(self, server: Server) -> None:
        server.missing = {"a", "c"}
        answer = server.answer(
            request("smudge", "a", b"123", can_delay="1")
            + request("smudge", "b", b"456", can_delay="1")
            + request("smudge", "c", b"789", can_delay="1")
            + text("command=list_available_blobs")
            + request("smudge", "a")
            + request("smudge", "c")
            + text("command=list_available_blobs")
        )
        assert answer == [
            [b"status=delayed\n"],
            *(SUCCESS, [b"654"], []),
            [b"status=delayed\n"],
            [b"pathname=a\n", b"pathname=c\n"],
            SUCCESS,
            *(SUCCESS, [b"321"], []),
            *(SUCCESS, [b"987"], []),
            [],
            SUCCESS,
        ]
        assert server.gathered == 1

    def test_is_not_for_requests_that_cannot_wait(self, server: Server) -> None:
        server.missing = {"a"}
        assert server.answer(request("smudge", "a", b"123")) == [SUCCESS, [b"321"], []]

    def test_survives_a_gathering_that_fails(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise ThetaError("no network")

        monkeypatch.setattr(server, "gather", fail)
        server.missing = {"a"}
        answer = server.answer(
            request("smudge", "a", b"123", can_delay="1")
            + text("command=list_available_blobs")
            + request("smudge", "a")
            + text("command=list_available_blobs")
        )
        assert answer == [[b"status=delayed\n"], [b"pathname=a\n"], SUCCESS, *(SUCCESS, [b"321"], []), [], SUCCESS]
        assert server.errors == [("a", "ThetaError")]


@pytest.mark.parametrize("junk", [b"zzzz", b"0001", b"0002", b"0003", b"ffff", b"fff1", b"-004", b"\0\0\0\0"], ids=repr)
def test_junk_in_the_pipe_is_a_protocol_error(server: Server, junk: bytes) -> None:
    with pytest.raises(ProtocolError):
        server.answer(request("clean", "p", b"abc") + junk + b"0" * 70_000)


def test_the_sample_packets_are_git_s() -> None:
    """From gitprotocol-common: the helper that builds requests is right."""
    assert packets([b"a\n", b"foobar\n"]) + flush() == b"0006a\n000bfoobar\n0000"
