"""What prune must leave in a store: one repository enters, the objects it needs leave, by the reason for it.

Every reason but "unpushed" takes the trees of commits whole, pushed or not: what is checked out or staged must be
there offline, and so must every state a reflog can bring back. What always holds: a manifest that cannot be
parsed keeps every object its text mentions, a manifest of a newer version stops the whole prune, and so does a
repository in which Git lacks objects.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.gitio.batch import Blobs
from git_theta.gitio.process import ask_git
from git_theta.gitio.remotes import remote_names
from git_theta.gitio.repository import Repository
from git_theta.lfs.reach import manifest_texts, rev_list
from git_theta.manifest import ManifestFromNewerVersion, looks_like_manifest, parse
from git_theta.model import Oid

CHECKED_OUT, UNPUSHED, REFLOG = "checked out or staged", "not on any remote", "in a reflog"

_OID = re.compile(rb"\b[0-9a-f]{64}\b")
_COMMIT = re.compile(rb"^([0-9a-f]{40}|[0-9a-f]{64})\b", re.MULTILINE)
_STATE = re.compile(r"[A-Z_]+")
"""Files of a Git folder that hold what a merge, a rebase or an autostash stands on, such as ``MERGE_HEAD``."""
_HEAD = 64 << 10
_LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """A repository to ask; ``elsewhere`` when it is not the one this process was started for."""

    root: Path
    common_dir: Path
    elsewhere: bool
    worktree: Path | None = None

    @classmethod
    def of(cls, repository: Repository) -> Place:
        """The repository this process was started for."""
        return cls(repository.root, repository.common_dir, elsewhere=False, worktree=repository.worktree)


def needed(place: Place) -> dict[str, set[Oid]]:
    """Every object the repository needs here, by reason; an object may have several."""
    blobs = Blobs(place.root, elsewhere=place.elsewhere)
    try:
        present, unpushed, old = _present(place), _unpushed(place), _reflogs(place)
        return {
            CHECKED_OUT: _named(place, blobs, [*present, "--indexed-objects"]) | _of_placeholders(place),
            UNPUSHED: _named(place, blobs, unpushed),
            REFLOG: _named(place, blobs, old),
        }
    finally:
        blobs.close()


def pushed(place: Place) -> set[Oid]:
    """Every object that the history of its remotes' branches names."""
    names = remote_names(place.root, elsewhere=place.elsewhere)
    tips = [oid for name in names for oid in pushed_tips(place.root, name, elsewhere=place.elsewhere)]
    blobs = Blobs(place.root, elsewhere=place.elsewhere)
    try:
        texts = manifest_texts(place.root, blobs, tips, elsewhere=place.elsewhere)
        return {oid for _, _, text in texts for oid in oids_in(text)}
    finally:
        blobs.close()


def pushed_tips(root: Path, remote: str, *, elsewhere: bool = False) -> list[str]:
    """The commits that the remote's branches had when Git last heard of it."""
    refs = ("for-each-ref", "--format=%(objectname)", f"refs/remotes/{remote}/")
    return ask_git(*refs, cwd=root, elsewhere=elsewhere).decode().split()


def oids_in(text: bytes) -> set[Oid]:
    """The objects a manifest names; of one that cannot be read, whatever could be one of them."""
    try:
        return {stored.oid for stored in parse(text).objects}
    except ManifestFromNewerVersion:
        raise
    except ThetaError:
        return {Oid(found.decode()) for found in _OID.findall(text)}


def _named(place: Place, blobs: Blobs, revisions: Sequence[str]) -> set[Oid]:
    """What the manifests in the trees of exactly these revisions name."""
    if not revisions:
        return set()
    texts = manifest_texts(place.root, blobs, ["--no-walk", *revisions], elsewhere=place.elsewhere)
    return {oid for _, _, text in texts for oid in oids_in(text)}


def _present(place: Place) -> list[str]:
    """What every worktree's HEAD is at, and what unfinished merges, rebases and autostashes there stand on."""
    found = set(_standing(place))
    for git_dir in _git_dirs(place):
        options = ("--git-dir", git_dir, "rev-parse", "--verify", "--quiet", "HEAD")
        found.update(ask_git(*options, cwd=git_dir, codes=(0, 1), elsewhere=True).decode().split())
    return sorted(found)


def _unpushed(place: Place) -> list[str]:
    """Commits that some ref, reflog or stash reaches and no remote's branch does; all where there is no remote."""
    names = remote_names(place.root, elsewhere=place.elsewhere)
    tips = [f"^{oid}" for name in names for oid in pushed_tips(place.root, name, elsewhere=place.elsewhere)]
    revisions = ["--all", "--reflog", *_standing(place), *tips]
    return rev_list(place.root, revisions, elsewhere=place.elsewhere).decode().split()


def _reflogs(place: Place) -> list[str]:
    return rev_list(place.root, ["--no-walk", "--reflog"], elsewhere=place.elsewhere).decode().split()


def _standing(place: Place) -> list[str]:
    """Ids that unfinished commands keep in files of their own, where Git still has them."""
    texts = []
    for git_dir in _git_dirs(place):
        names = [path for path in git_dir.iterdir() if _STATE.fullmatch(path.name) and path.name != "FETCH_HEAD"]
        for path in (*names, *git_dir.glob("rebase-*/*"), *git_dir.glob("sequencer/*")):
            if path.is_file() and path.stat().st_size < _HEAD:
                texts.append(path.read_bytes())
    ids = {found.decode() for text in texts for found in _COMMIT.findall(text)}
    answer = ask_git(
        "cat-file",
        "--batch-check=%(objectname) %(objecttype)",
        cwd=place.root,
        stdin="".join(f"{oid}\n" for oid in sorted(ids)).encode(),
        elsewhere=place.elsewhere,
    )
    return [line.split(" ")[0] for line in answer.decode().splitlines() if line.endswith((" commit", " tree"))]


def _git_dirs(place: Place) -> list[Path]:
    """The main worktree's Git folder, then those of linked worktrees, whether their files are there or not."""
    return [place.common_dir, *sorted(path.parent for path in place.common_dir.glob("worktrees/*/HEAD"))]


def _of_placeholders(place: Place) -> set[Oid]:
    """What placeholders in worktrees stand for: one left by a ``stash pop`` may be the only trace of its version."""
    found: set[Oid] = set()
    for folder in _worktrees(place):
        elsewhere = place.elsewhere or folder != place.worktree
        options = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in os.fsdecode(ask_git(*options, cwd=folder, elsewhere=elsewhere)).split("\0")[:-1]:
            found |= oids_in(_manifest_at(folder / name))
    return found


def _manifest_at(path: Path) -> bytes:
    """The manifest in a file of a worktree, empty when there is none."""
    if path.is_symlink() or not path.is_file():
        return b""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        return head + file.read(_LARGEST) if looks_like_manifest(head) else b""


def _worktrees(place: Place) -> Iterator[Path]:
    """The folders with files checked out."""
    moved = ask_git("config", "--get", "core.worktree", cwd=place.common_dir, codes=(0, 1), elsewhere=True)
    candidates = [place.worktree, place.common_dir.parent if place.common_dir.name == ".git" else None]
    candidates += [place.common_dir / os.fsdecode(moved).removesuffix("\n")] if moved else []
    for link in place.common_dir.glob("worktrees/*/gitdir"):
        candidates.append(Path(os.fsdecode(link.read_bytes().removesuffix(b"\n"))).parent)
    for folder in dict.fromkeys(path.resolve() for path in candidates if path and path.is_dir()):
        question = ("rev-parse", "--is-inside-work-tree")
        if ask_git(*question, cwd=folder, codes=(0, 128), elsewhere=True) == b"true\n":
            yield folder
