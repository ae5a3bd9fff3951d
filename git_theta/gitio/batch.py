"""Questions to Git that come by the hundred, answered by one process each: blobs, and attributes of paths.

Both processes start with the first question and end with :meth:`close`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from git_theta.errors import Exit, ThetaError
from git_theta.gitio.process import git_environment

_HEAD = 64 << 10


class GitWentAway(ThetaError):
    """A Git process we asked stopped answering."""

    exit_code = Exit.NO_REPOSITORY


class BatchProcess:
    """One Git process that answers question after question; it starts with the first one.

    ``elsewhere`` as for :func:`~git_theta.gitio.process.ask_git`.
    """

    def __init__(self, directory: Path, *arguments: str, options: Sequence[str] = (), elsewhere: bool = False) -> None:
        self._directory, self._arguments, self._elsewhere = directory, arguments, elsewhere
        self._command = ["git", *options, *arguments]
        self._pipes: tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]] | None = None

    def _open(self) -> tuple[IO[bytes], IO[bytes]]:
        """The process's stdin and stdout; starts it the first time."""
        if self._pipes is None:
            process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=git_environment(self._elsewhere),
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

    def read_into(self, target: memoryview) -> None:
        """Fill ``target`` with the next bytes of the answer."""
        at = 0
        while at < len(target):
            data = self.read(min(len(target) - at, 1 << 20))
            target[at : at + len(data)] = data
            at += len(data)

    def line(self) -> bytes:
        """The answer up to the end of the line, which is dropped."""
        line = self._open()[1].readline()
        if not line.endswith(b"\n"):
            raise GitWentAway(f"git {self._arguments[0]} stopped in the middle of an answer")
        return line[:-1]

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

    def __init__(self, directory: Path, *, elsewhere: bool = False) -> None:
        self._process = BatchProcess(directory, "cat-file", "--batch", elsewhere=elsewhere)

    def get(self, name: str, begins: Callable[[bytes], bool] | None = None) -> bytes | None:
        """The blob's bytes; None when there is none of that name, it is something else, or it begins otherwise.

        ``begins`` is asked about the first 64 KiB: a model that lies in Git as it is must not cost its size in
        memory to be told from a manifest.
        """
        kind, length = self._ask(name)
        head = self._process.read(min(length, _HEAD))
        if kind != b"blob" or not (begins is None or begins(head)):
            self._drop(kind, length - len(head))
            return None
        rest = self._process.read(length - len(head))
        self._drop(kind, 0)
        return head + rest

    def exists(self, name: str) -> bool:
        """Whether Git knows an object of that name."""
        kind, length = self._ask(name)
        self._drop(kind, length)
        return bool(kind)

    def _ask(self, name: str) -> tuple[bytes, int]:
        """The kind and the length of the object whose bytes come next; no kind when there is none."""
        if "\n" in name:  # the batch protocol is by lines; Git 2.34 has no other
            return b"", 0
        self._process.ask(name.encode("utf-8", "surrogateescape") + b"\n")
        header = self._process.until(b"\n").rsplit(b" ", 2)
        return (header[1], int(header[2])) if len(header) == 3 and header[2].isdigit() else (b"", 0)

    def _drop(self, kind: bytes, length: int) -> None:
        """Read the rest of an answer, and the newline that ends it."""
        left = length + 1 if kind else 0
        while left:
            left -= len(self._process.read(min(left, 1 << 20)))

    def close(self) -> None:
        """End the process behind it."""
        self._process.close()


def is_outside(path: str, root: Path) -> bool:
    """Whether a path, from the worktree's root or absolute, leads out of the worktree."""
    whole = os.path.normpath(os.path.join(root, path))
    return not Path(whole).is_relative_to(root)


class Attributes:
    """The value of one attribute for many paths."""

    def __init__(self, directory: Path, attribute: str) -> None:
        self._directory = directory
        self._process = BatchProcess(directory, "check-attr", "--stdin", "-z", attribute)

    def get(self, path: str) -> str | None:
        """The attribute's value, or None when it is unspecified, set without a value, or unset.

        A file outside the worktree, which ``git diff --no-index`` may name, has none; Git would stop over it.
        """
        if is_outside(path, self._directory):
            return None
        self._process.ask(path.encode("utf-8", "surrogateescape") + b"\0")
        self._process.until(b"\0")
        self._process.until(b"\0")
        value = self._process.until(b"\0").decode("utf-8", "replace")
        return None if value in ("unspecified", "set", "unset") else value

    def close(self) -> None:
        """End the process behind it."""
        self._process.close()
