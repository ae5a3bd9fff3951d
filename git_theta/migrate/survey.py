"""The history before it is rewritten: commits enter; which trees hold files to convert, and how many, leaves.

Every distinct tree is read once for each folder it is seen in, every distinct blob is looked at once. Nothing is
written. What always holds: what the survey does not call touched needs no rewriting.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from git_theta.errors import ThetaError
from git_theta.gitio.matcher import Matcher
from git_theta.gitio.objects import Objects
from git_theta.migrate.raw import Item, links, read_tree

ATTRIBUTES = b".gitattributes"


class Verdict(Enum):
    """What becomes of a file that a pattern matches."""

    CONVERT = "is to be converted"
    DONE = "is already what it would become"
    LEAVE = "is something else, and stays"


@dataclass(frozen=True, slots=True)
class Place:
    """The first commit that holds a blob, and where."""

    commit: str
    path: bytes

    def __str__(self) -> str:
        return f"{self.commit[:12]}:{os.fsdecode(self.path)}"


class Stopped(ThetaError):
    """A file could not be converted. No ref and no file was changed."""

    def __init__(self, place: Place, why: str, cause: Exception | None = None) -> None:
        hint = cause.hint if isinstance(cause, ThetaError) else None
        super().__init__(f"{place}: {why}", hint=f"nothing was changed; {hint}" if hint else "nothing was changed")
        if isinstance(cause, ThetaError):
            self.exit_code = cause.exit_code


class NothingMatched(ThetaError):
    """A pattern matches no file of any commit."""


class Conversion(Protocol):
    """What a migration does to the files that match, and to the attributes that go with them."""

    def look(self, blob: str, place: Place) -> tuple[Verdict, int]:
        """What is to become of a blob, and the bytes of the file it stands for."""

    def gather(self) -> None:
        """Bring what the blobs looked at so far stand for and what is not here; raises :class:`Stopped`."""

    def convert(self, blob: str, place: Place) -> str:
        """The id of the blob that comes in the place of one to convert."""

    def attributes(self, text: bytes, pattern: bytes) -> bytes:
        """The ``.gitattributes`` at the top, once a file matches ``pattern``."""

    def nested(self, text: bytes, pattern: bytes) -> bytes:
        """A ``.gitattributes`` further down."""


@dataclass(frozen=True, slots=True)
class Source:
    """A repository to read from: its objects, the width of their ids, the patterns, and what they match."""

    objects: Objects
    width: int
    patterns: Sequence[bytes]
    matcher: Matcher


@dataclass(frozen=True, slots=True)
class Seen:
    """One tree in one folder: the patterns that match a converted file below it, and whether anything changes."""

    matched: frozenset[int]
    touched: bool


class Survey:
    """Looks at commits, the oldest first, and remembers."""

    def __init__(self, source: Source, conversion: Conversion) -> None:
        self._objects, self._width = source.objects, source.width
        self._matcher, self._patterns, self._conversion = source.matcher, source.patterns, conversion
        self._trees: dict[tuple[str, bytes], Seen] = {}
        self._paths: dict[bytes, frozenset[int]] = {}
        self._blobs: dict[str, Verdict] = {}
        self._nested: dict[str, bytes | None] = {}
        self._used: set[int] = set()
        self.files = self.bytes = self.left = 0
        self.first_left: Place | None = None

    def visit(self, commit: str) -> None:
        """Look at everything in ``commit`` that was not seen before."""
        tree, _ = links(self._objects.get(commit)[1])
        self._visit(tree, b"", commit)

    def check(self) -> None:
        """Raise :class:`NothingMatched` for a pattern without any file."""
        for number, pattern in enumerate(self._patterns):
            if number not in self._used:
                raise NothingMatched(
                    f"no file of any commit matches {os.fsdecode(pattern)!r}",
                    hint="patterns are read as in a .gitattributes file at the top; quote them against the shell",
                )

    def seen(self, tree: str, folder: bytes = b"") -> Seen:
        """What was found in a tree of a visited commit, at ``folder`` (with a slash at its end)."""
        return self._trees[tree, folder]

    def converts(self, item: Item, path: bytes) -> bool:
        """Whether a file of a visited commit is to be converted."""
        return item.is_file and bool(self._matching(path)) and self._blobs[item.oid] is Verdict.CONVERT

    def nested(self, blob: str) -> bytes | None:
        """What the ``.gitattributes`` in ``blob`` becomes in a folder below the top; None when it stays as it is."""
        if blob not in self._nested:
            text = after = self._objects.get(blob)[1]
            for pattern in self._patterns:
                if b"/" not in pattern:  # means the same in every folder
                    after = self._conversion.nested(after, pattern)
            self._nested[blob] = None if after == text else after
        return self._nested[blob]

    def _visit(self, tree: str, folder: bytes, commit: str) -> Seen:
        if (tree, folder) in self._trees:
            return self._trees[tree, folder]
        matched: frozenset[int] = frozenset()
        touched = False
        for item in read_tree(self._objects.get(tree)[1], self._width):
            path = folder + item.name
            if item.is_folder:
                below = self._visit(item.oid, path + b"/", commit)
                matched |= below.matched
                touched |= below.touched
            elif item.is_file and item.name == ATTRIBUTES:
                touched |= bool(folder) and self.nested(item.oid) is not None
            elif item.is_file and (numbers := self._matching(path)):
                verdict = self._look(item.oid, Place(commit, path))
                self._used |= numbers
                matched |= numbers if verdict is not Verdict.LEAVE else frozenset()
                touched |= verdict is Verdict.CONVERT
        self._trees[tree, folder] = Seen(matched, touched)
        return self._trees[tree, folder]

    def _matching(self, path: bytes) -> frozenset[int]:
        if path not in self._paths:
            self._paths[path] = self._matcher.matching(path)
        return self._paths[path]

    def _look(self, blob: str, place: Place) -> Verdict:
        if blob not in self._blobs:
            verdict, size = self._conversion.look(blob, place)
            self._blobs[blob] = verdict
            if verdict is Verdict.CONVERT:
                self.files += 1
                self.bytes += size
            elif verdict is Verdict.LEAVE:
                self.left += 1
                self.first_left = self.first_left or place
        return self._blobs[blob]
