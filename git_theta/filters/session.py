"""The long-running filter protocol (gitattributes, "Long Running Filter Process"): one session with one Git.

Enters: Git's two pipes and the two functions that do the work. Leaves: answers in protocol order. What always
holds: a request that fails is answered as failed after its content was read, so the next one finds its place;
content is called good only after its last byte was checked. Nothing heavy is imported before the handshake.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

from git_theta.errors import ThetaError
from git_theta.gitio.pktline import ContentReader, PacketReader, PacketWriter, ProtocolError, Readable


class Smudged(NamedTuple):
    """The bytes to write, part by part; ``problem`` says why they are only a placeholder."""

    parts: Iterator[memoryview]
    problem: ThetaError | None = None


Clean = Callable[[str, ContentReader], bytes]
Smudge = Callable[[Mapping[str, str], bytes], Smudged]
"""Gets the whole request: besides the path it says what the content is for, where Git knows."""
Postpone = Callable[[Mapping[str, str], bytes], bool]
"""Whether the content's objects have to come from elsewhere first, so that it should wait for the others."""
Gather = Callable[[], None]
"""Bring, in one batch, what all postponed content needs."""
Complain = Callable[[str, Exception], None]

CAPABILITIES = ("clean", "smudge", "delay")


class Service(NamedTuple):
    """What a session does for Git; ``complain`` is told the path and the error of each request that fails, ``rest``
    is called when one is answered and nothing is to be done until Git asks for more."""

    clean: Clean
    smudge: Smudge
    postpone: Postpone
    gather: Gather
    complain: Complain
    rest: Callable[[], None] = lambda: None


class Session:
    """One Git process's requests, answered until it closes the pipe."""

    def __init__(self, requests: Readable, answers: BinaryIO) -> None:
        self._in, self._out = PacketReader(requests), PacketWriter(answers)
        self._postponed: dict[str, bytes] = {}
        self._gathered: list[str] = []

    def handshake(self) -> None:
        """Agree on version 2 and on what Git offers and we can; raises :class:`ProtocolError`."""
        with contextlib.suppress(EOFError):
            if self._in.line() == "git-filter-client" and "version=2" in self._in.lines():
                return self._agree()
        raise ProtocolError("expected git-filter-client with version=2; filter-process is for Git to run")

    def _agree(self) -> None:
        self._out.lines(["git-filter-server", "version=2"])
        offered = self._in.lines()
        self._out.lines([f"capability={name}" for name in CAPABILITIES if f"capability={name}" in offered])

    def serve(self, service: Service) -> None:
        """Answer every request, until Git goes."""
        with contextlib.suppress(EOFError, BrokenPipeError):
            while True:
                service.rest()
                request = self._in.pairs()
                if request.get("command") == "list_available_blobs":
                    self._list(service)
                    continue
                content = self._in.content()
                try:
                    self._answer(request, content, service)
                except BrokenPipeError:
                    return
                except (ThetaError, OSError, MemoryError) as error:
                    service.complain(request.get("pathname", ""), error)
                    content.drain()
                    self._out.lines(["status=error"])

    def _answer(self, request: Mapping[str, str], content: ContentReader, service: Service) -> None:
        command, path = request.get("command", ""), request.get("pathname", "")
        if command == "clean":
            self._send_bytes(service.clean(path, content))
        elif command == "smudge":
            # Git asks again for what was postponed, with the path and without the content.
            text = _all(content) or self._postponed.pop(path, b"")
            if request.get("can-delay") == "1" and service.postpone(request, text):
                self._postponed[path] = text
                self._gathered.append(path)
                self._out.lines(["status=delayed"])
            else:
                self._send_parts(service.smudge(request, text), path)
        else:
            raise ProtocolError(f"Git asked for {command!r}, which was not agreed on")

    def _list(self, service: Service) -> None:
        """Name all postponed paths, once everything they need was sought; an empty list says that was all."""
        paths, self._gathered = self._gathered, []
        try:
            if paths:
                service.gather()
        except (ThetaError, OSError, MemoryError) as error:  # each path then says for itself what it lacks
            service.complain(", ".join(paths), error)
        self._out.lines([f"pathname={path}" for path in paths])
        self._out.lines(["status=success"])

    def _send_bytes(self, data: bytes) -> None:
        self._out.lines(["status=success"])
        self._out.content(data)
        self._out.flush()
        self._out.lines([])

    def _send_parts(self, smudged: Smudged, path: str) -> None:
        self._out.lines(["status=success"])
        try:
            for part in smudged.parts:
                self._out.content(part)
        except BrokenPipeError:
            raise
        except (ThetaError, OSError, MemoryError) as error:
            # Too late for another answer: end the content and take the success back.
            self._out.flush()
            raise LateFailure(path, error) from error
        self._out.flush()
        self._out.lines([])


class LateFailure(ThetaError):
    """Bytes were already on their way when a value turned out damaged; Git is told to drop them."""

    def __init__(self, path: str, cause: Exception) -> None:
        super().__init__(str(cause), hint=f"repeat the command: {path} will then be left as a placeholder")


def _all(content: ContentReader) -> bytes:
    found = bytearray()
    block = memoryview(bytearray(1 << 16))
    while count := content.readinto(block):
        found += block[:count]
    return bytes(found)
