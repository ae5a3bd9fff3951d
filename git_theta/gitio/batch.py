"""Questions to Git that come by the hundred, answered by one process each: blobs, and attributes of paths.

Both processes start with the first question and end with :meth:`close`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import IO

from git_theta.errors import Exit, ThetaError


class GitWentAway(ThetaError):
    """A Git process we asked stopped answering."""

    exit_code = Exit.NO_REPOSITORY


class _Process:
    def __init__(self, directory: Path, *arguments: str) -> None:
        self._directory, self._arguments = directory, arguments
        self._pipes: tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]] | None = None

    def _open(self) -> tuple[IO[bytes], IO[bytes]]:
        """The process's stdin and stdout; starts it the first time."""
        if self._pipes is None:
            process = subprocess.Popen(
                ["git", *self._arguments],
                cwd=self._directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            if process.stdin is None or process.stdout is None:
                raise GitWentAway(f"git {self._arguments[0]} has no pipes")
            self._pipes = process, process.stdin, process.stdout
        return self._pipes[1:]

    def ask(self, question: bytes) -> None:
        """Send one question; the answer is read with :meth:`read` and :meth:`until`."""
        requests, _ = self._open()
        try:
            requests.write(question)
            requests.flush()
        except OSError as error:
            raise GitWentAway(f"git {self._arguments[0]} stopped: {error}") from None

    def read(self, length: int) -> bytes:
        """Exactly ``length`` bytes of the answer."""
        data = self._open()[1].read(length)
        if len(data) != length:
            raise GitWentAway(f"git {self._arguments[0]} stopped in the middle of an answer")
        return data

    def until(self, mark: bytes) -> bytes:
        """The answer up to ``mark``, which is one byte and is dropped."""
        found = bytearray()
        while (byte := self.read(1)) != mark:
            found += byte
        return bytes(found)

    def close(self) -> None:
        """End the process."""
        if self._pipes is not None:
            process, requests, answers = self._pipes
            requests.close()
            answers.close()
            process.wait()
            self._pipes = None


class Blobs:
    """Contents of blobs by any name Git knows: ``HEAD:model.pt``, ``:model.pt``, an object id."""

    def __init__(self, directory: Path) -> None:
        self._process = _Process(directory, "cat-file", "--batch")

    def get(self, name: str) -> bytes | None:
        """The blob's bytes, or None when there is none of that name (or it is something else)."""
        if "\n" in name:  # the batch protocol is by lines; Git 2.34 has no other
            return None
        self._process.ask(name.encode("utf-8", "surrogateescape") + b"\n")
        header = self._process.until(b"\n").rsplit(b" ", 2)
        if len(header) < 3 or not header[2].isdigit():
            return None
        data = self._process.read(int(header[2]) + 1)[:-1]
        return data if header[1] == b"blob" else None

    def exists(self, name: str) -> bool:
        """Whether Git knows an object of that name."""
        self._process.ask(name.encode("utf-8", "surrogateescape") + b"\n")
        header = self._process.until(b"\n").rsplit(b" ", 2)
        known = len(header) == 3 and header[2].isdigit()
        if known:
            self._process.read(int(header[2]) + 1)
        return known

    def close(self) -> None:
        """End the process behind it."""
        self._process.close()


class Attributes:
    """The value of one attribute for many paths."""

    def __init__(self, directory: Path, attribute: str) -> None:
        self._process = _Process(directory, "check-attr", "--stdin", "-z", attribute)

    def get(self, path: str) -> str | None:
        """The attribute's value, or None when it is unspecified, set without a value, or unset."""
        self._process.ask(path.encode("utf-8", "surrogateescape") + b"\0")
        self._process.until(b"\0")
        self._process.until(b"\0")
        value = self._process.until(b"\0").decode("utf-8", "replace")
        return None if value in ("unspecified", "set", "unset") else value

    def close(self) -> None:
        """End the process behind it."""
        self._process.close()
