"""The checkpoints of the index or of a commit: their paths, blobs, manifests, and the state of the worktree file."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from git_theta.cli.text import printable
from git_theta.cli.workspace import Workspace
from git_theta.errors import ThetaError
from git_theta.gitio.attributes import check_attributes, index_of
from git_theta.gitio.process import ask_git
from git_theta.manifest import looks_like_manifest, parse, undo_line_ends
from git_theta.model import Manifest


class NothingMatches(ThetaError):
    """The paths name no tracked checkpoint."""


_EMPTY_BLOBS = {
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
}
"""Git's name of an empty file, in its two object formats: there is nothing in it to track."""


CONVERTING = {"set", "auto"}
"""Values of the attribute ``text`` with which Git may change line ends, of manifests as well."""

NO_TEXT = "put the line of git-theta after it"


class State(Enum):
    """What lies in the worktree at a tracked path."""

    FILE = "file"
    PLACEHOLDER = "placeholder"
    ABSENT = "absent"
    SPARSE = "outside the sparse checkout"
    NONE = "no worktree"


@dataclass(frozen=True, slots=True)
class Tracked:
    """One checkpoint in the index or in a commit; ``manifest`` is None when the blob is not a valid manifest."""

    path: str
    blob: str
    executable: bool
    skipped: bool
    manifest: Manifest | None


def tracked(workspace: Workspace, pathspecs: Sequence[str] = (), revision: str | None = None) -> list[Tracked]:
    """Every path with the filter=theta attribute, at stage 0 of the index or in ``revision``.

    Paths are from the worktree's root; ``pathspecs`` are Git's, from the current folder. A bare repository has no
    index, so HEAD stands for it.
    """
    if workspace.bare and revision is None:
        revision = "HEAD" if workspace.blobs.exists("HEAD") else None
    entries = _tree(revision, pathspecs) if revision else _index(pathspecs)
    handled = filtered(workspace, [path for path, *_ in entries])
    return [
        Tracked(path, blob, mode == "100755", tag == "S", workspace.manifest(blob))
        for path, mode, blob, tag in entries
        if path in handled and blob not in _EMPTY_BLOBS
    ]


def matching(workspace: Workspace, pathspecs: Sequence[str]) -> list[Tracked]:
    """As :func:`tracked`, for a user who named files; raises :class:`NothingMatches` when none of them is tracked."""
    found = tracked(workspace, pathspecs)
    if pathspecs and not found:
        raise NothingMatches(
            f"no tracked checkpoint matches {' '.join(map(printable, pathspecs))}",
            hint="git theta ls-files lists them; a file that is not in the index comes with git checkout",
        )
    return found


def state(workspace: Workspace, item: Tracked) -> State:
    """What lies in the worktree for ``item``."""
    if item.skipped:
        return State.SPARSE
    if workspace.bare:
        return State.NONE
    path = absolute(workspace, item.path)
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return State.ABSENT
    return State.PLACEHOLDER if stat.S_ISREG(status.st_mode) and is_placeholder(path) else State.FILE


def as_meant(workspace: Workspace, item: Tracked) -> Tracked:
    """``item`` as the worktree means it: a placeholder of another version stands for that one.

    A ``stash pop`` or ``restore --source`` whose objects are missing leaves such a placeholder, and it may be the
    only trace of the version. Its ``blob`` is empty; its ``manifest`` is None when it is damaged.
    """
    if state(workspace, item) is not State.PLACEHOLDER:
        return item
    text = absolute(workspace, item.path).read_bytes()
    if text == workspace.blobs.get(item.blob):
        return item
    try:
        return replace(item, blob="", manifest=parse(undo_line_ends(text)))
    except ThetaError:
        return replace(item, blob="", manifest=None)


def is_placeholder(path: Path) -> bool:
    """Whether the file holds a manifest instead of a checkpoint."""
    with open(path, "rb") as file:
        return looks_like_manifest(file.read(1 << 16))


def absolute(workspace: Workspace, path: str) -> Path:
    """A path from the worktree's root as an absolute one."""
    return workspace.repository.root / path


def _index(pathspecs: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """(path, mode, blob, tag) of regular files at stage 0; tag S is skip-worktree."""
    found = []
    for line in _records(ask_git("ls-files", "-s", "-t", "-z", "--full-name", "--", *pathspecs)):
        fields, _, path = line.partition("\t")
        tag, mode, blob, stage = fields.split(" ")
        if stage == "0" and mode.startswith("100"):
            found.append((path, mode, blob, tag))
    return found


def _tree(revision: str, pathspecs: Sequence[str]) -> list[tuple[str, str, str, str]]:
    found = []
    for line in _records(ask_git("ls-tree", "-r", "-z", "--full-name", revision, "--", *pathspecs)):
        fields, _, path = line.partition("\t")
        mode, _, blob = fields.split(" ")
        if mode.startswith("100"):
            found.append((path, mode, blob, "H"))
    return found


def filtered(workspace: Workspace, paths: Sequence[str], *, anywhere: bool = False) -> set[str]:
    """Those of ``paths``, from the worktree's root, that have the filter=theta attribute; see :func:`attributes`."""
    found = attributes(workspace, paths, "filter", anywhere=anywhere)
    return {path for path, value in found.items() if value == "theta"}


def attributes(workspace: Workspace, paths: Sequence[str], name: str, *, anywhere: bool = False) -> dict[str, str]:
    """The value of one attribute for each of ``paths``: of HEAD in a bare repository, as newer versions of Git do.

    Inside a ``.git`` folder Git refuses, unless ``anywhere`` says that commits are asked about and no files.
    """
    root = workspace.repository.root
    without_files = workspace.bare or (anywhere and workspace.repository.worktree is None)
    if without_files and workspace.blobs.exists("HEAD"):
        with index_of("HEAD", root) as index:
            found = check_attributes(paths, [name], root, index)
    else:
        found = check_attributes(paths, [name], root)
    return {path: values[name] for path, values in found.items()}


def _records(answer: bytes) -> list[str]:
    return os.fsdecode(answer).split("\0")[:-1]
