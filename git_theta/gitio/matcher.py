"""Which patterns match a path, for paths of any commit: Git answers, one process for all questions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from git_theta.gitio.attributes import quote
from git_theta.gitio.batch import BatchProcess


class Matcher:
    """``patterns`` as a ``.gitattributes`` file at the top of the worktree at ``root`` would have them."""

    def __init__(self, root: Path, patterns: Sequence[bytes]) -> None:
        # Attributes that nothing else sets, from a file of their own.
        self._names = [f"theta-probe-{number}" for number in range(len(patterns))]
        self._folder = tempfile.TemporaryDirectory(prefix="git-theta-")
        file = Path(self._folder.name, "attributes")
        lines = zip(patterns, self._names, strict=True)
        file.write_bytes(b"".join(quote(pattern) + b" " + name.encode() + b"\n" for pattern, name in lines))
        options = ("-c", f"core.attributesFile={file}")
        self._process = BatchProcess(root, "check-attr", "--stdin", "-z", *self._names, options=options)

    def matching(self, path: bytes) -> frozenset[int]:
        """The numbers of the patterns that match ``path``."""
        self._process.ask(path + b"\0")
        answers = [[self._process.until(b"\0") for _ in range(3)] for _ in self._names]
        return frozenset(number for number, (_, _, value) in enumerate(answers) if value == b"set")

    def close(self) -> None:
        """End the process behind it."""
        self._process.close()
        self._folder.cleanup()
