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
    held = _paths(root, tip)
    missing = {path: stored for path, stored in wanted.items() if path not in held}
    if not missing:
        return tip
    commit = _grow(root, tip, missing, scratch)
    lease = f"--force-with-lease={OBJECTS_REF}:{tip or ''}"
    # What the configuration asks of the user's own pushes is not meant for this one.
    plainly = ("--no-verify", "--no-follow-tags", "--no-signed", "--no-recurse-submodules")
    no_mirror = ("-c", f"remote.{address}.mirror=false")
    ask_git(*no_mirror, "push", "--quiet", *plainly, lease, address, f"{commit}:{OBJECTS_REF}", cwd=root)
    return commit


def _paths(root: Path, commit: str | None) -> set[str]:
    if commit is None:
        return set()
    return set(os.fsdecode(ask_git("ls-tree", "-r", "-z", "--name-only", commit, cwd=root)).split("\0")[:-1])


def _grow(root: Path, before: str | None, missing: dict[str, StoredObject], scratch: Path) -> str:
    """A commit on top of ``before`` with the missing pointers added; the index is not involved."""
    blobs = write_pointers(root, list(missing.values()), scratch)
    folders: dict[str, dict[str, str]] = {}
    for path, blob in zip(missing, blobs, strict=True):
        folder, name = path.split("/")
        folders.setdefault(folder, {})[name] = f"100644 blob {blob}\t{name}"
    top = _tree(root, before) if before else {}
    for folder, added in folders.items():
        held = _tree(root, f"{before}:{folder}") if folder in top else {}
        top[folder] = f"040000 tree {_make_tree(root, {**held, **added})}\t{folder}"
    parents = ("-p", before) if before else ()
    tree = _make_tree(root, top)
    return ask_git(*IDENTITY, "commit-tree", *parents, "-m", _MESSAGE, tree, cwd=root).decode().strip()


def _tree(root: Path, name: str) -> dict[str, str]:
    lines = os.fsdecode(ask_git("ls-tree", "-z", name, cwd=root)).split("\0")[:-1]
    return {line.partition("\t")[2]: line for line in lines}


def _make_tree(root: Path, entries: dict[str, str]) -> str:
    text = "".join(f"{line}\n" for line in entries.values())
    return ask_git("mktree", "--missing", cwd=root, stdin=os.fsencode(text)).decode().strip()
