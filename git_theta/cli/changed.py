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
from dataclasses import dataclass, replace
from pathlib import Path

from git_theta.cli.sides import ABSENT, Side, of_file, stored
from git_theta.cli.text import printable
from git_theta.cli.tracked import filtered
from git_theta.cli.workspace import Workspace
from git_theta.diff import Comparison, compare_texts
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.process import GitFailed, ask_git
from git_theta.gitio.stages import stages
from git_theta.manifest import DamagedManifest, ManifestFromNewerVersion, looks_like_manifest

_RAW = ("diff", "--raw", "-z", "--no-abbrev", "--find-renames", "--no-ext-diff", "--ignore-submodules")


LINK = "120000"
"""The mode of a symbolic link."""
_STAGES = {"--base": "1", "--ours": "2", "--theirs": "3"}


def stored_otherwise(old: Side, new: Side) -> str | None:
    """What to say where one side is a manifest and the other a whole file in Git."""
    sides = [side.summary.objects is not None for side in (old, new) if side.summary]
    if sides == [False, True]:
        return "Git itself stored the whole file before; now its groups are stored by themselves"
    if sides == [True, False]:
        return "its groups were stored by themselves before; now Git itself stores the whole file"
    return None


class TooManyVersions(ThetaError):
    """The words name a merge with all its parents, or more than two commits."""

    exit_code = Exit.USAGE

    def __init__(self) -> None:
        super().__init__(
            "these words name more than two versions, and a report compares two",
            hint="git theta diff A B; for a merge and its first parent: git theta diff MERGE^ MERGE",
        )


class DamagedVersion(ThetaError):
    """A version of a checkpoint in Git is a manifest that cannot be read."""

    exit_code = Exit.DAMAGED

    def __init__(self, place: Place, error: ThetaError) -> None:
        where = f"blob {place.blob[:10]}" if place.blob else "the worktree"
        found = f"git log --all --find-object={place.blob} names the commits that brought it" if place.blob else None
        super().__init__(f"{printable(place.path)} in {where}: {error}", hint=found)


@dataclass(frozen=True, slots=True)
class Place:
    """One side of a changed file: path from the root, mode, and blob; without a blob it is in the worktree."""

    path: str
    mode: str
    blob: str | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A file that differs; None on the side that does not have it.

    ``unmerged`` is the path of one in conflict, ``stage`` the side of the conflict that the worktree is compared with.
    """

    old: Place | None
    new: Place | None
    unmerged: str = ""
    stage: str = ""

    @property
    def paths(self) -> tuple[str | None, str | None]:
        """The path on each side."""
        if self.unmerged and not (self.old or self.new):
            return self.unmerged, self.unmerged
        return self.old.path if self.old else None, self.new.path if self.new else None

    @property
    def notes(self) -> list[str]:
        """What Git itself would say above a diff: conflicts, renames and modes."""
        if self.unmerged:
            compared = f": {self.stage} compared with the worktree" if self.stage else ""
            return [f"* Unmerged path {printable(self.unmerged)}{compared}"]
        if not (self.old and self.new):
            one = self.old or self.new
            return [f"{'deleted' if self.old else 'new'} file mode {one.mode}"] if one else []
        found = []
        if self.old.path != self.new.path:
            found += [f"rename from {printable(self.old.path)}", f"rename to {printable(self.new.path)}"]
        if self.old.mode != self.new.mode:
            found += [f"old mode {self.old.mode}", f"new mode {self.new.mode}"]
        return found


def changed(workspace: Workspace, arguments: Sequence[str]) -> list[Pair]:
    """Every checkpoint that differs, for the arguments of ``git diff``, in Git's order."""
    pairs = _with_stages(list(_pairs(os.fsdecode(ask_git(*_RAW, *arguments)))), arguments)
    paths = [path for pair in pairs for path in pair.paths if path is not None]
    handled = filtered(workspace, list(dict.fromkeys(paths)), anywhere=True)
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
    if place is None or place.mode == LINK:
        return ABSENT
    try:
        if place.blob is None:
            return of_file(workspace, str(workspace.repository.root / place.path))
        manifest = workspace.manifest(place.blob)
        return stored(workspace, manifest) if manifest else _plain_blob(workspace, place.blob)
    except (DamagedManifest, ManifestFromNewerVersion) as error:
        raise DamagedVersion(place, error) from None


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
    """The records of ``git diff --raw -z``; submodules are left out, links may stand where checkpoints were."""
    words = iter(raw.split("\0")[:-1])
    for word in words:
        if word.startswith("::"):
            raise TooManyVersions
        old_mode, new_mode, old_blob, new_blob, status = word[1:].split(" ")
        old_path = next(words)
        new_path = next(words) if status[0] in "RC" else old_path
        if status == "U":
            yield Pair(None, _place(old_path, new_mode, ""), unmerged=old_path)
            continue
        old = _place(old_path, old_mode, old_blob)
        new = _place(new_path, new_mode, new_blob)
        # A file that became a link, or the other way, is two halves, as Git shows it.
        for pair in (Pair(old, None), Pair(None, new)) if status == "T" else (Pair(old, new),):
            if pair.old or pair.new:
                yield pair


def _place(path: str, mode: str, blob: str) -> Place | None:
    """None where the side has neither file nor link; what is in the worktree has no blob id."""
    return Place(path, mode, blob if blob.strip("0") else None) if mode.startswith(("100", "120")) else None


def _with_stages(pairs: list[Pair], words: Sequence[str]) -> list[Pair]:
    """The pairs, those in conflict made of the stage that was asked for and the worktree.

    Git names such a path, and compares it only where it has this stage and the worktree's file is another.
    """
    conflicts = {pair.unmerged for pair in pairs if pair.unmerged}
    if not conflicts:
        return pairs
    if "--cached" in words:
        return [replace(pair, new=None) if pair.unmerged else pair for pair in pairs]
    stage = next((word for word in _STAGES if word in words), "--ours")
    listed = stages(":/")
    found = []
    for pair in pairs:
        if pair.unmerged:
            mode, blob = listed.get(pair.unmerged, {}).get(_STAGES[stage], ("000000", ""))
            sides = _place(pair.unmerged, mode, blob), pair.new
            old, new = reversed(sides) if "-R" in words else sides
            found.append(Pair(old, new, pair.unmerged, stage[2:]))
        elif not conflicts.intersection(pair.paths):
            found.append(pair)
    return found


def link_notes(old: str | None, new: str | None) -> list[str]:
    """What to say of symbolic links, given the target on each side that has one."""
    before = [f"- symbolic link to {printable(old)}"] if old is not None else []
    return before + ([f"+ symbolic link to {printable(new)}"] if new is not None else [])


def link_target(workspace: Workspace, place: Place | None) -> str | None:
    """Where the link at a place leads; None for what is no link."""
    if place is None or place.mode != LINK:
        return None
    if place.blob is None:
        return os.readlink(workspace.repository.root / place.path)
    return os.fsdecode(workspace.blobs.get(place.blob) or b"")
