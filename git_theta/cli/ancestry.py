"""One checkpoint through history: a revision and a path enter, the commits and the manifests they had leave.

Git lists the commits once and names the blobs of all of them at one path in one answer, so a long history costs a
few processes. What always holds: parents are Git's own, grafts and shallow ends included.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from git_theta.cli.workspace import Workspace
from git_theta.diff import Kind, Summary, compare, of_manifest
from git_theta.gitio.process import ask_git

_SUMMARIES_HELD = 4


@dataclass(frozen=True, slots=True)
class Commit:
    """What people want to know of a commit; ``date`` is the author's, as YYYY-MM-DD."""

    id: str
    author: str
    date: str
    subject: str


class Ancestry:
    """The commits that ``revisions`` reach, newest first, each with its parents; ``options`` are those of rev-list."""

    def __init__(self, workspace: Workspace, *revisions: str, options: Sequence[str] = ()) -> None:
        self._workspace = workspace
        command = ["rev-list", "--date-order", "--parents", *options, "--end-of-options", *revisions, "--"]
        lines = ask_git(*command).decode().splitlines()
        self.parents: dict[str, tuple[str, ...]] = {}
        for line in lines:
            commit, *parents = line.split()
            self.parents[commit] = tuple(parents)
        self._blobs: dict[str, dict[str, str]] = {}
        self._summary = lru_cache(maxsize=_SUMMARIES_HELD)(self._load)

    def blob(self, commit: str, path: str) -> str | None:
        """The blob at ``path`` in a commit; None when there is none."""
        if path not in self._blobs:
            self._blobs[path] = self._ids(path)
        return self._blobs[path].get(commit)

    def latest(self, path: str) -> str | None:
        """The blob that the newest commit with a file at ``path`` has there; None when no commit has one."""
        return next((blob for commit in self.parents if (blob := self.blob(commit, path))), None) or next(
            iter(self._blobs[path].values()), None
        )

    def summary(self, blob: str | None) -> Summary | None:
        """The checkpoint a blob stands for; None for what is no manifest."""
        return self._summary(blob) if blob else None

    def source(self, parent: str, commit: str, path: str) -> str | None:
        """The path in ``parent`` that the file had before ``commit`` gave it the name ``path``."""
        raw = os.fsdecode(
            ask_git("diff-tree", "-r", "-z", "--find-renames", "--diff-filter=R", "--name-status", parent, commit)
        )
        words = raw.split("\0")[:-1]
        names = zip(words[1::3], words[2::3], strict=True)
        return next((old for old, new in names if new == path), None)

    def _load(self, blob: str) -> Summary | None:
        manifest = self._workspace.manifest(blob)
        return of_manifest(manifest) if manifest else None

    def _ids(self, path: str) -> dict[str, str]:
        parents = (parent for parents in self.parents.values() for parent in parents)
        commits = list(dict.fromkeys([*self.parents, *parents]))  # a range ends above parents it does not have
        if "\n" in path:  # the batch protocol is by lines
            return {commit: blob for commit in commits if (blob := self._listed(commit, path))}
        questions = "".join(f"{commit}:{path}\n" for commit in commits)
        answers = ask_git("cat-file", "--batch-check=%(objecttype) %(objectname)", stdin=os.fsencode(questions))
        found = {}
        for commit, answer in zip(commits, os.fsdecode(answers).splitlines(), strict=True):
            kind, _, name = answer.partition(" ")
            if kind == "blob":
                found[commit] = name
        return found

    @staticmethod
    def _listed(commit: str, path: str) -> str | None:
        """The blob at a path of any name, by a process of its own."""
        entry = ask_git("ls-tree", "-z", "--full-tree", commit, "--", path).partition(b"\t")[0].split(b" ")
        return entry[2].decode() if entry[1:2] == [b"blob"] else None


def kept(old: Summary | None, new: Summary | None) -> dict[str, str]:
    """The groups of the new side whose value the old side has, to their names there."""
    changes = {change.name: change for change in compare(old, new).changes if change.new}
    found = {value.group.name: value.group.name for value in new.values} if new else {}
    for name, change in changes.items():
        if change.kind is Kind.RENAMED and change.old:
            found[name] = change.old.group.name
        elif change.kind is not Kind.TIED:
            del found[name]
    return found


def from_root(workspace: Workspace, path: str) -> str:
    """``path``, given from the current folder, from the worktree's root."""
    return Path(os.path.relpath(Path(path).absolute(), workspace.repository.root)).as_posix()


def describe(commits: Sequence[str]) -> dict[str, Commit]:
    """Author, date and subject of each commit."""
    if not commits:
        return {}
    text = os.fsdecode(
        ask_git(
            "log", "--no-walk=unsorted", "--stdin", "-z", "--format=%H%n%an%n%as%n%s", stdin="\n".join(commits).encode()
        )
    )
    return {record.split("\n", 3)[0]: Commit(*record.split("\n", 3)) for record in text.split("\0") if record}
