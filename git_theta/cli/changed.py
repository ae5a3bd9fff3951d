"""Which checkpoints differ: what a user wrote to name two versions enters, pairs of sides leave. Git decides.

``git diff --raw`` understands revisions, ranges, the index, the worktree and pathspecs as plain ``git diff`` does,
finds renames, and says what is ambiguous. What always holds: only checkpoints leave, that is paths with the
theta filter, and blobs that hold a manifest or, before they were tracked, a checkpoint itself.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.cli.sides import ABSENT, Side, of_file, stored
from git_theta.cli.tracked import filtered
from git_theta.cli.workspace import Workspace
from git_theta.diff import Comparison, compare_texts
from git_theta.errors import ThetaError
from git_theta.gitio.process import GitFailed, ask_git
from git_theta.manifest import looks_like_manifest

_RAW = ("diff", "--raw", "-z", "--no-abbrev", "--find-renames", "--no-ext-diff", "--ignore-submodules")


@dataclass(frozen=True, slots=True)
class Place:
    """One side of a changed file: path from the root, mode, and blob; without a blob it is in the worktree."""

    path: str
    mode: str
    blob: str | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A file that differs; None on the side that does not have it. ``unmerged``: Git has no two sides to compare."""

    old: Place | None
    new: Place | None
    unmerged: bool = False

    @property
    def paths(self) -> tuple[str | None, str | None]:
        """The path on each side."""
        return self.old.path if self.old else None, self.new.path if self.new else None

    @property
    def notes(self) -> list[str]:
        """What Git itself would say above a diff: renames and modes."""
        if not (self.old and self.new):
            one = self.old or self.new
            return [f"{'deleted' if self.old else 'new'} file mode {one.mode}"] if one else []
        found = []
        if self.old.path != self.new.path:
            found += [f"rename from {self.old.path}", f"rename to {self.new.path}"]
        if self.old.mode != self.new.mode:
            found += [f"old mode {self.old.mode}", f"new mode {self.new.mode}"]
        return found


def changed(workspace: Workspace, arguments: Sequence[str]) -> list[Pair]:
    """Every checkpoint that differs, for the arguments of ``git diff``, in Git's order."""
    pairs = list(_pairs(os.fsdecode(ask_git(*_RAW, *arguments))))
    paths = [path for pair in pairs for path in pair.paths if path is not None]
    handled = filtered(workspace, list(dict.fromkeys(paths)))
    return [pair for pair in pairs if handled.intersection(path for path in pair.paths if path is not None)]


def blobs(names: Sequence[str]) -> Pair | None:
    """The pair of two blobs named as Git names them (``HEAD:model.pt``, ``:2:model.pt``); None when they are none."""
    if len(names) != 2 or not all(":" in name for name in names):
        return None
    try:
        ids = [ask_git("rev-parse", "--verify", "--quiet", f"{name}^{{blob}}").decode().strip() for name in names]
    except GitFailed:
        return None
    old, new = (Place(name.rpartition(":")[2], "100644", oid) for name, oid in zip(names, ids, strict=True))
    return Pair(old, new)


def compare_blobs(workspace: Workspace, pair: Pair) -> Comparison | None:
    """How two versions in Git differ as their manifests tell; None where the sides have to be opened to know."""
    if not (pair.old and pair.new and pair.old.blob and pair.new.blob):
        return None
    old, new = (workspace.blobs.get(place.blob, looks_like_manifest) for place in (pair.old, pair.new) if place.blob)
    return compare_texts(old, new) if old and new else None


def side(workspace: Workspace, place: Place | None) -> Side:
    """What is at a place."""
    if place is None:
        return ABSENT
    if place.blob is None:
        return of_file(workspace, str(workspace.repository.root / place.path))
    manifest = workspace.manifest(place.blob)
    return stored(workspace, manifest) if manifest else _plain_blob(workspace, place.blob)


def _plain_blob(workspace: Workspace, blob: str) -> Side:
    """A checkpoint that Git itself holds, from before it was tracked: read from a scratch file."""
    workspace.store.tmp.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix="blob-", dir=workspace.store.tmp)
    scratch = Path(name)
    try:
        with open(fd, "wb") as file:
            done = subprocess.run(
                ["git", "cat-file", "blob", blob], cwd=workspace.repository.root, stdout=file, check=False
            )
        if done.returncode:
            raise ThetaError(f"blob {blob} cannot be read", hint="git fsck says what is damaged")
        found = of_file(workspace, name)
    except BaseException:
        scratch.unlink()
        raise

    def close() -> None:
        found.close()
        scratch.unlink()

    return Side(found.summary, found.values, close)


def _pairs(raw: str) -> Iterator[Pair]:
    """The records of ``git diff --raw -z``; symbolic links and submodules are no checkpoints."""
    words = iter(raw.split("\0")[:-1])
    for word in words:
        old_mode, new_mode, old_blob, new_blob, status = word[1:].split(" ")
        old_path = next(words)
        new_path = next(words) if status[0] in "RC" else old_path
        if status == "U":
            yield Pair(Place(old_path, old_mode, None), None, unmerged=True)
            continue
        old = _place(old_path, old_mode, old_blob)
        new = _place(new_path, new_mode, new_blob)
        if old or new:
            yield Pair(old, new)


def _place(path: str, mode: str, blob: str) -> Place | None:
    """None where the side has no regular file; the worktree's file has no blob id."""
    return Place(path, mode, blob if blob.strip("0") else None) if mode.startswith("100") else None
