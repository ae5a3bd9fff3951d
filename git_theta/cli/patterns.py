"""The words a user types after ``track`` and ``untrack``: a word enters, a pattern for this folder's
``.gitattributes`` leaves.

As with git-lfs, patterns go into the ``.gitattributes`` of the current folder and mean what Git makes of them
there. What always holds: a word that names an existing file becomes a pattern that matches that file, and a
word that cannot match anything below the folder is an error.
"""

from __future__ import annotations

import os
import posixpath
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from git_theta.errors import ThetaError
from git_theta.gitio import find_repository
from git_theta.gitio.attributes import BadPattern, check_attributes, file_pattern, matching
from git_theta.gitio.files import UNIGNORED, list_files
from git_theta.gitio.process import NoWorktree

NAME = ".gitattributes"


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder a command runs in: its worktree's ``root``, its ``path`` and its ``place`` below the root."""

    root: Path
    path: Path
    place: PurePosixPath

    @property
    def attributes(self) -> Path:
        """Where this folder's patterns are written."""
        return self.path / NAME

    def text(self) -> bytes:
        """The bytes of this folder's attributes file; none when there is no file."""
        if self.attributes.is_symlink():
            raise ThetaError(
                f"{self.attributes} is a symbolic link, which Git does not follow",
                hint=f"replace it by a file: cp --remove-destination {shlex.quote(os.path.realpath(self.attributes))} "
                f"{NAME}",
            )
        return self.attributes.read_bytes() if self.attributes.exists() else b""

    def write(self, text: bytes) -> None:
        """Replace this folder's attributes file in one step; an interrupted write changes nothing."""
        fresh = self.path / f"{NAME}.{os.getpid()}.new"
        try:
            fresh.write_bytes(text)
            if self.attributes.exists():
                shutil.copymode(self.attributes, fresh)
            os.replace(fresh, self.attributes)
        finally:
            fresh.unlink(missing_ok=True)

    def from_root(self, name: str) -> str:
        """A path below this folder, as seen from the root."""
        return str(self.place / name)

    def files(self, *options: str) -> list[str]:
        """What Git lists below this folder, as seen from the root."""
        return [self.from_root(name) for name in list_files(self.path, *options)]

    def shown(self, path: str) -> str:
        """A path from the root as one types it in this folder."""
        return shlex.quote(posixpath.relpath(path, self.place.as_posix()))

    def matches(self, pattern: bytes, paths: Iterable[str]) -> list[str]:
        """Those of ``paths`` (from the root) that ``pattern`` matches when it is written here."""
        return matching(pattern, self.place, paths, self.root)

    def filters(self, paths: Iterable[str]) -> dict[str, str]:
        """The filter each of ``paths`` (from the root) goes through, as Git finds it now."""
        return {path: found["filter"] for path, found in check_attributes(paths, ["filter"], self.root).items()}


def current_folder() -> Folder:
    """The folder the command was started in; raises :class:`NoWorktree`, :class:`NotARepository`."""
    repository = find_repository()
    if repository.worktree is None:
        raise NoWorktree(repository.git_dir)
    path = Path(os.path.realpath(os.getcwd()))
    root = Path(os.path.realpath(repository.worktree))
    return Folder(root, path, PurePosixPath(path.relative_to(root).as_posix()))


def as_pattern(folder: Folder, typed: str, is_filename: bool = False) -> bytes:
    """The pattern that stands for what was typed; raises :class:`BadPattern` where nothing can."""
    if not typed:
        raise BadPattern("an empty pattern matches nothing", hint="git theta track '*.safetensors'")
    word = typed.replace(os.sep, "/") if os.sep != "/" else typed
    word = _below(folder, word)
    place = folder.path / word.lstrip("/")
    if word.endswith("/") or place.is_dir():  # Git gives attributes to files only, so this means all below it
        name = os.fsencode(word.rstrip("/"))
        return b"**" if name == b"." else (file_pattern(name) if place.is_dir() else name) + b"/**"
    if is_filename or place.is_file():
        return file_pattern(os.fsencode(word))
    if word.startswith("!"):
        raise BadPattern(f"{typed}: Git has no attributes for all but a pattern", hint="git theta untrack PATTERN")
    if not word or word.startswith("[attr]"):
        raise BadPattern(f"{typed!r} is not a pattern", hint="git theta track '*.safetensors'")
    return os.fsencode(word)


def candidate(pattern: bytes) -> str:
    """A path that ``pattern`` plausibly matches, to ask Git about files that do not exist yet."""
    path = pattern.replace(b"**/", b"").replace(b"*", b"x").replace(b"?", b"x").replace(b"\\", b"")
    return os.fsdecode(path.lstrip(b"/"))


def all_files(folder: Folder) -> list[str]:
    """Every file below the folder that is in the index or that ``git add`` would take."""
    return folder.files(*UNIGNORED)


def _below(folder: Folder, word: str) -> str:
    """The word without dots and without the folder's own path; raises when it leads out of the folder.

    A leading slash is Git's sign for "in this very folder" unless it leads to something that exists elsewhere.
    """
    if word.startswith("/"):
        parent = os.path.realpath(posixpath.dirname(word))
        full = os.path.join(parent, posixpath.basename(word))
        if not _is_below(full, folder.root) and (parent == "/" or not os.path.isdir(parent)):
            return word
    elif {".", ".."} & set(word.split("/")):
        full = os.path.normpath(os.path.join(folder.path, word))
    else:
        return word
    if _is_below(full, folder.path):
        slash = "/" if word.endswith("/") else ""
        return PurePosixPath(os.path.relpath(full, folder.path)).as_posix() + slash
    if not _is_below(full, folder.root):
        raise BadPattern(f"{word} is outside the worktree {folder.root}")
    inside = os.path.relpath(full, folder.root)
    raise BadPattern(
        f"{word} is above this folder, where its {NAME} has no say",
        hint=f"cd {shlex.quote(str(folder.root))} && git theta track {shlex.quote(inside)}",
    )


def _is_below(path: str, folder: Path) -> bool:
    return path == str(folder) or path.startswith(os.path.join(folder, ""))
