"""Which refs are migrated, and where the new history goes: words enter, full names leave; all refs move at once.

What always holds: the refs move in one transaction, which fails as a whole when one of them moved meanwhile; in
place, the old value of every ref stays under another name.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.errors import Exit, ThetaError
from git_theta.gitio.objects import AS_STORED
from git_theta.gitio.process import ask_git

MIGRATED = "refs/theta/migrated/"
ORIGINAL = "refs/theta/original/"
_EVERYWHERE = ("refs/heads/", "refs/tags/")
_FORMAT = "%(refname)%00%(objectname)%00%(objecttype)%00%(symref)"


class CannotMigrate(ThetaError):
    """The repository is not in a state to be migrated, or not in this way."""


class NoSuchRef(ThetaError):
    """A word that should name a branch or a tag does not."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Target:
    """A ref to migrate, and what it names: a commit, or an annotated tag."""

    name: str
    oid: str

    @property
    def is_branch(self) -> bool:
        """Whether somebody may have it checked out."""
        return self.name.startswith("refs/heads/")

    def moved(self, in_place: bool) -> str:
        """Where its new history goes."""
        return self.name if in_place else MIGRATED + self.name.removeprefix("refs/")

    @property
    def original(self) -> str:
        """Where its old history stays, when it is migrated in place."""
        return ORIGINAL + self.name.removeprefix("refs/")


def full_name(root: Path, word: str) -> str | None:
    """The ref that ``word`` is short for, as Git reads it; None when it names none."""
    if word.startswith("-"):
        return None
    answer = ask_git("rev-parse", "--quiet", "--verify", "--symbolic-full-name", word, cwd=root, codes=(0, 1, 128))
    return os.fsdecode(answer).strip() or None


def find_targets(root: Path, names: Sequence[str], *, in_place: bool) -> list[Target]:
    """The refs of these full names, by default all branches and tags, without those that stand for another.

    Raises :class:`CannotMigrate` for a shallow clone or where nothing is left, :class:`NoSuchRef` for a name that
    cannot be migrated.
    """
    if ask_git("rev-parse", "--is-shallow-repository", cwd=root).strip() == b"true":
        raise CannotMigrate("this is a shallow clone: its oldest commits are cut off", hint="git fetch --unshallow")
    for name in names:
        if not name.startswith("refs/") or (in_place and not name.startswith(_EVERYWHERE)):
            raise NoSuchRef(f"{name} is neither a branch nor a tag", hint="git branch --all, git tag: which there are")
    lines = os.fsdecode(ask_git("for-each-ref", f"--format={_FORMAT}", *(names or _EVERYWHERE), cwd=root)).splitlines()
    fields = [line.split("\0") for line in lines]
    found = [Target(name, oid) for name, oid, kind, symref in fields if kind in ("commit", "tag") and not symref]
    if not found:
        raise CannotMigrate("there is no commit to migrate")
    return found


def remote_branches_without(root: Path, commits: Container[str]) -> list[str]:
    """Remote branches, by their short names, whose last commit is not among ``commits``."""
    question = ("for-each-ref", f"--format={_FORMAT}", "refs/remotes/")
    fields = [line.split("\0") for line in os.fsdecode(ask_git(*question, cwd=root)).splitlines()]
    return [name.removeprefix("refs/remotes/") for name, oid, _, symref in fields if not symref and oid not in commits]


def history(root: Path, targets: Sequence[Target]) -> list[str]:
    """Every commit that ``targets`` reach, the parents first."""
    question = "".join(f"{target.oid}\n" for target in targets).encode()
    answer = ask_git(AS_STORED, "rev-list", "--topo-order", "--reverse", "--stdin", cwd=root, stdin=question)
    return answer.decode().split()


def check_originals(root: Path) -> None:
    """Raise :class:`CannotMigrate` while an earlier migration's old refs are kept: they must not be lost."""
    kept = ask_git("for-each-ref", "--count=1", "--format=%(refname)", ORIGINAL, cwd=root)
    if kept:
        raise CannotMigrate(
            f"{os.fsdecode(kept).strip()} is kept from an earlier migration",
            hint="when it is no longer needed: "
            f"git for-each-ref --format='delete %(refname)' {ORIGINAL} | git update-ref --stdin",
        )


def move_refs(root: Path, moved: Mapping[Target, str], *, in_place: bool) -> None:
    """Point each target's new ref at its new value, all at once or none."""
    lines = []
    for target, new in moved.items():
        if in_place:
            lines += [f"create {target.original} {target.oid}\n", f"update {target.name} {new} {target.oid}\n"]
        else:
            lines.append(f"update {target.moved(in_place)} {new}\n")
    ask_git("update-ref", "-m", "git theta migrate", "--stdin", cwd=root, stdin=os.fsencode("".join(lines)))
