"""Which objects commits name: revisions enter, the manifests their trees hold and the objects of those leave."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.errors import Exit, ThetaError
from git_theta.gitio.batch import Blobs
from git_theta.gitio.process import ask_git
from git_theta.manifest import looks_like_manifest, parse
from git_theta.model import Manifest, Oid, StoredObject


@dataclass(frozen=True, slots=True)
class Need:
    """An object that is needed, and one path whose manifest names it."""

    stored: StoredObject
    path: str


EVERYTHING = ("--all", "--reflog", "--indexed-objects")
"""What Git can reach: all refs, reflogs and stashes, and the HEAD and index of every worktree."""
_SMALLEST, _LARGEST = 200, 256 << 20
"""Bytes a manifest can have."""
_BOUNDARIES = 16
"""Commits at the edge of a range that are looked at for what the other side has already."""


class BrokenHistory(ThetaError):
    """Git lacks objects that no remote has promised: what its commits name cannot be known."""

    exit_code = Exit.NO_REPOSITORY


def manifest_texts(
    root: Path, blobs: Blobs, revisions: Sequence[str], *, elsewhere: bool = False
) -> Iterator[tuple[str, str, bytes]]:
    """(path, blob, text) of every manifest reachable from ``revisions``, damaged ones included.

    ``^REV`` and options as for rev-list. Blobs a partial clone does not have came from the remote and are passed
    over; in any other repository a missing one raises :class:`BrokenHistory`. ``elsewhere`` as for
    :func:`~git_theta.gitio.process.ask_git`.
    """
    listed = rev_list(root, revisions, "--objects", "--missing=print", elsewhere=elsewhere)
    paths: dict[str, str] = {}
    missing = None
    for line in os.fsdecode(listed).split("\n"):  # a path may hold any other line separator
        oid, _, path = line.partition(" ")
        if oid.startswith("?"):
            missing = oid[1:]
        elif path:
            paths.setdefault(oid, path)
    if missing and not _is_partial(root, elsewhere):
        raise BrokenHistory(f"{root}: Git object {missing} is missing", hint="git fsck")
    yield from _texts(blobs, ((path, oid) for oid, path in _of_right_size(root, paths, elsewhere)))


def fetch_promised(root: Path, revisions: Sequence[str], remote: str) -> None:
    """In a partial clone, bring what ``revisions`` lack, in one go: another remote than the promising one needs it.

    Git would fetch it to push it, one object after the other.
    """
    promising = _promisors(root)
    if not promising or remote in promising:
        return
    listed = rev_list(root, revisions, "--objects", "--missing=print").split(b"\n")
    missing = b"".join(line[1:] + b"\n" for line in listed if line.startswith(b"?"))
    if missing:
        # As Git itself fetches what was promised.
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--filter=blob:none")
        skip = ("-c", "fetch.negotiationAlgorithm=noop")
        ask_git(*skip, "fetch", *options, promising[0], "--stdin", cwd=root, stdin=missing)


def named_manifests(root: Path, blobs: Blobs, revisions: Sequence[str]) -> Iterator[tuple[str, str, Manifest]]:
    """(path, blob, manifest) of every valid manifest reachable from ``revisions``."""
    return _valid(manifest_texts(root, blobs, revisions))


def named_objects(root: Path, blobs: Blobs, revisions: Sequence[str]) -> dict[Oid, Need]:
    """Every object named by a manifest reachable from ``revisions``."""
    return needs((path, manifest) for path, _, manifest in named_manifests(root, blobs, revisions))


def new_objects(root: Path, blobs: Blobs, include: Sequence[str], exclude: Sequence[str]) -> dict[Oid, Need]:
    """The objects that ``include`` names and the commits at the edge of ``exclude`` do not.

    What the edge's manifests name was needed there already, at the same path, so it is not sent again.
    """
    revisions = [*include, *exclude]
    found: dict[Oid, Need] = {}
    paths = set()
    for path, _, manifest in named_manifests(root, blobs, revisions):
        found.update(needs([(path, manifest)]))
        paths.add(path)
    if not found or not exclude:
        return found
    edge = _edge(root, revisions)
    held = _valid(_texts(blobs, ((path, f"{commit}:{path}") for commit in edge for path in paths)))
    there = needs((path, manifest) for path, _, manifest in held)
    return {oid: need for oid, need in found.items() if oid not in there}


def needs(manifests: Iterable[tuple[str, Manifest]]) -> dict[Oid, Need]:
    """The objects of all ``manifests``, each once."""
    return {stored.oid: Need(stored, path) for path, manifest in manifests for stored in manifest.objects}


def rev_list(root: Path, revisions: Sequence[str], *options: str, elsewhere: bool = False) -> bytes:
    """What ``git rev-list`` answers, nothing for no revisions. Options such as ``--all`` may be among the revisions."""
    if not revisions:
        return b""
    # They go onto the command line: before Git 2.42, stdin took revisions only.
    switches = [revision for revision in revisions if revision.startswith("-")]
    lines = "".join(f"{revision}\n" for revision in revisions if not revision.startswith("-"))
    arguments = ("rev-list", *options, *switches, "--stdin")
    return ask_git(*arguments, cwd=root, stdin=lines.encode(), elsewhere=elsewhere)


def _edge(root: Path, revisions: Sequence[str]) -> list[str]:
    answer = rev_list(root, revisions, "--boundary")
    return [line[1:] for line in answer.decode().splitlines() if line.startswith("-")][:_BOUNDARIES]


def _is_partial(root: Path, elsewhere: bool) -> bool:
    keys = r"^(remote\..*\.promisor|extensions\.partialclone)$"
    return bool(ask_git("config", "--get-regexp", keys, cwd=root, codes=(0, 1), elsewhere=elsewhere))


def _promisors(root: Path) -> list[str]:
    """The remotes that promised what a partial clone lacks."""
    keys = r"^remote\..*\.promisor$"
    answer = ask_git("config", "--null", "--name-only", "--get-regexp", keys, cwd=root, codes=(0, 1))
    return [key.removeprefix("remote.").removesuffix(".promisor") for key in os.fsdecode(answer).split("\0")[:-1]]


def _of_right_size(root: Path, paths: dict[str, str], elsewhere: bool) -> list[tuple[str, str]]:
    answer = ask_git(
        "cat-file",
        "--batch-check=%(objectname) %(objecttype) %(objectsize)",
        cwd=root,
        stdin="".join(f"{oid}\n" for oid in paths).encode(),
        elsewhere=elsewhere,
    )
    fields = (line.split(" ") for line in answer.decode().splitlines())
    return [(f[0], paths[f[0]]) for f in fields if len(f) == 3 and f[1] == "blob" and _SMALLEST < int(f[2]) < _LARGEST]


def _texts(blobs: Blobs, named: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, bytes]]:
    """(path, blob, text) of those of the (path, blob) that look like a manifest."""
    for path, name in named:
        text = blobs.get(name, looks_like_manifest)
        if text is not None:
            yield path, name, text


def _valid(texts: Iterable[tuple[str, str, bytes]]) -> Iterator[tuple[str, str, Manifest]]:
    for path, name, text in texts:
        try:
            yield path, name, parse(text)
        except ThetaError:
            continue
