"""``refs/theta/objects``: a ref on the remote whose tree holds a Git LFS pointer for every object of ours there.

Hosts find LFS objects by scanning Git for pointer blobs (garbage collection, mirrors, push checks); manifests
alone are invisible to them. What always holds: the tree only grows, whoever pushes at the same time, and a
host that refuses the ref costs nothing but a warning.

A push that makes the remote a mirror takes every ref away that is not here. For those the ref is kept here too, as
``git clone --mirror`` keeps it, in step with the remote's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.gitio.process import GitFailed, ask_git
from git_theta.lfs.git_lfs import IDENTITY, write_pointers
from git_theta.model import StoredObject

OBJECTS_REF = "refs/theta/objects"
_ATTEMPTS = 5
"""Two pushes at once make one of them go again; five in a row do not happen by chance."""
_MESSAGE = "objects of git-theta: see docs/architecture.md"


class RefRefused(ThetaError):
    """The remote would not take the ref. The objects are there all the same."""


def announce(root: Path, address: str, objects: Iterable[StoredObject], scratch: Path, *, mirror: bool = False) -> None:
    """Add ``objects`` to the ref at ``address``, a remote's name or URL; raises :class:`RefRefused`.

    The ref here follows if it was the same as there, or if ``mirror`` says that the remote is to be like this one.
    """
    wanted = {f"{o.oid[:2]}/{o.oid}": o for o in objects}
    refused: GitFailed | None = None
    tip: str | None = None
    try:
        for _ in range(_ATTEMPTS):
            before, tip = tip, _tip(root, address)
            if refused and tip == before:
                break  # nobody was faster, so the host itself said no
            try:
                return _follow(root, tip, _add(root, address, tip, wanted, scratch), mirror)
            except GitFailed as error:
                refused = error
    except GitFailed as error:
        refused = error
    raise RefRefused(
        f"{address} did not take {OBJECTS_REF} ({refused}); its own clean-up may not see our objects",
        hint="to stop trying: git config theta.objectsRef false",
    )


def _tip(root: Path, address: str) -> str | None:
    """The remote's commit; None when there is none yet."""
    answer = ask_git("ls-remote", address, OBJECTS_REF, cwd=root).decode().split()
    return answer[0] if answer else None


def keep(root: Path, address: str) -> bool:
    """Bring the ref at ``address`` here if there is one there and none here; whether it came."""
    if _here(root) or not _tip(root, address):
        return False
    refspec = f"{OBJECTS_REF}:{OBJECTS_REF}"
    ask_git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", address, refspec, cwd=root)
    return True


def _follow(root: Path, before: str | None, tip: str | None, mirror: bool) -> None:
    """Move the ref here as it was moved there."""
    here = _here(root)
    if tip and here != tip and (here == before if here else mirror):
        ask_git("update-ref", OBJECTS_REF, tip, here or "", cwd=root)


def _here(root: Path) -> str | None:
    answer = ask_git("rev-parse", "--quiet", "--verify", OBJECTS_REF, cwd=root, codes=(0, 1))
    return answer.decode().strip() or None


def _add(root: Path, address: str, tip: str | None, wanted: Mapping[str, StoredObject], scratch: Path) -> str | None:
    """Push a commit on top of ``tip`` that has all of ``wanted``, and return it; ``tip`` itself when it has.

    Raises GitFailed when ``tip`` is no longer true.
    """
    if tip and ask_git("cat-file", "-t", tip, cwd=root, codes=(0, 128)) != b"commit\n":
        ask_git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", address, tip, cwd=root)
    held = _held(root, tip)
    missing = {path: o for path, o in wanted.items() if o.oid not in held.get(o.oid[:2], {})}
    if not missing:
        return tip
    commit = _grow(root, tip, held, missing, scratch)
    lease = f"--force-with-lease={OBJECTS_REF}:{tip or ''}"
    # What the configuration asks of the user's own pushes is not meant for this one.
    plainly = ("--no-verify", "--no-follow-tags", "--no-signed", "--no-recurse-submodules")
    no_mirror = ("-c", f"remote.{address}.mirror=false")
    ask_git(*no_mirror, "push", "--quiet", *plainly, lease, address, f"{commit}:{OBJECTS_REF}", cwd=root)
    return commit


def _held(root: Path, commit: str | None) -> dict[str, dict[str, str]]:
    """By folder and name, the lines that ls-tree has for the pointers in a commit."""
    folders: dict[str, dict[str, str]] = {}
    listed = ask_git("ls-tree", "-r", "-z", commit, cwd=root) if commit else b""
    for line in os.fsdecode(listed).split("\0")[:-1]:
        about, _, path = line.partition("\t")
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, {})[name] = f"{about}\t{name}"
    return folders


def _grow(
    root: Path, before: str | None, held: dict[str, dict[str, str]], missing: Mapping[str, StoredObject], scratch: Path
) -> str:
    """A commit on top of ``before`` with the missing pointers added; the index is not involved."""
    blobs = write_pointers(root, list(missing.values()), scratch)
    grown: dict[str, dict[str, str]] = {}
    for path, blob in zip(missing, blobs, strict=True):
        folder, name = path.split("/")
        grown.setdefault(folder, dict(held.get(folder, {})))[name] = f"100644 blob {blob}\t{name}"
    trees = _make_trees(root, grown.values())
    top = _top(root, before) if before else {}
    top.update((folder, f"040000 tree {tree}\t{folder}") for folder, tree in zip(grown, trees, strict=True))
    parents = ("-p", before) if before else ()
    tree = _make_trees(root, [top])[0]
    return ask_git(*IDENTITY, "commit-tree", *parents, "-m", _MESSAGE, tree, cwd=root).decode().strip()


def _top(root: Path, commit: str) -> dict[str, str]:
    lines = os.fsdecode(ask_git("ls-tree", "-z", commit, cwd=root)).split("\0")[:-1]
    return {line.partition("\t")[2]: line for line in lines}


def _make_trees(root: Path, trees: Iterable[Mapping[str, str]]) -> list[str]:
    """Put trees of such lines into Git; returns their ids in the same order."""
    text = "\n".join("".join(f"{line}\n" for line in tree.values()) for tree in trees)
    return ask_git("mktree", "--missing", "--batch", cwd=root, stdin=os.fsencode(text)).decode().split()
