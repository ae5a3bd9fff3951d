"""Git's objects as they are stored: an id enters, the kind and the bytes leave, whole or as a stream.

What always holds: replacement refs are not followed, so the bytes are the ones the id stands for; memory does
not grow with a blob that is streamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from git_theta.errors import Exit, ThetaError
from git_theta.gitio.batch import BatchProcess
from git_theta.gitio.process import ask_git

STREAMING = ("-c", "core.bigFileThreshold=16m")
"""Git streams blobs above this size and holds smaller ones; its own default is 512 MB."""
_DRAIN = 1 << 20
"""Reading this much to the end takes less time than starting a process."""
AS_STORED = "--no-replace-objects"


class MissingGitObject(ThetaError):
    """Git does not have an object that another one names."""

    exit_code = Exit.MISSING

    def __init__(self, oid: str) -> None:
        super().__init__(f"Git has no object {oid}", hint="git fsck; in a partial clone: git fetch --refetch")


class BlobContent:
    """The bytes of one blob, from the first on; ``left`` counts those that have not been read."""

    def __init__(self, process: BatchProcess, size: int) -> None:
        self._process = process
        self.size = self.left = size

    def readinto(self, target: memoryview) -> int:
        """Fill ``target`` with what comes next; less than its length only at the end."""
        count = min(len(target), self.left)
        self._process.read_into(target[:count])
        self.left -= count
        return count


class Objects:
    """Objects of the repository at ``root``, by full id."""

    def __init__(self, root: Path) -> None:
        options = (AS_STORED, *STREAMING)
        self._contents = BatchProcess(root, "cat-file", "--batch", options=options)
        self._headers = BatchProcess(root, "cat-file", "--batch-check", options=options)

    def get(self, oid: str) -> tuple[bytes, bytes]:
        """The kind (``commit``, ``tree``, ``blob``, ``tag``) and all bytes of an object."""
        kind, size = _header(self._contents, oid)
        return kind, self._contents.read(size + 1)[:-1]

    def size(self, oid: str) -> int:
        """The size of an object in bytes."""
        return _header(self._headers, oid)[1]

    def head(self, oid: str, length: int) -> bytes:
        """The first ``length`` bytes of an object, or all there are."""
        with self.stream(oid) as content:
            buffer = memoryview(bytearray(min(length, content.size)))
            content.readinto(buffer)
        return bytes(buffer)

    @contextmanager
    def stream(self, oid: str) -> Iterator[BlobContent]:
        """An object's bytes, to be read before anything else is asked."""
        content = BlobContent(self._contents, _header(self._contents, oid)[1])
        try:
            yield content
        except BaseException:
            self._contents.close()  # quicker than reading the rest; the next question starts a new process
            raise
        if content.left > _DRAIN:
            self._contents.close()
        else:
            self._contents.read(content.left + 1)

    def close(self) -> None:
        """End the processes behind it."""
        self._contents.close()
        self._headers.close()


def id_width(root: Path) -> int:
    """Bytes of an object id in this repository: 20 (sha1) or 32 (sha256)."""
    return {b"sha256": 32}.get(ask_git("rev-parse", "--show-object-format", cwd=root).strip(), 20)


def _header(process: BatchProcess, oid: str) -> tuple[bytes, int]:
    process.ask(oid.encode() + b"\n")
    words = process.line().split(b" ")
    if len(words) != 3:
        raise MissingGitObject(oid)
    return words[1], int(words[2])
