"""Commits, tags and trees as Git stores them, with other ids put in; pure, bytes to bytes.

What always holds: every byte that is not an id that changed, or a signature over what changed, comes back as it
was: author, dates, encodings, unknown headers, odd modes, and whatever else no parser would give back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from git_theta.errors import Exit, ThetaError

FOLDER = b"40000"
SIGNATURES = (b"gpgsig", b"gpgsig-sha256")
_TAG_SIGNATURE = re.compile(
    rb"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----", re.MULTILINE
)


class MalformedObject(ThetaError):
    """Bytes that Git calls a commit, tag or tree and that are none."""

    exit_code = Exit.DAMAGED

    def __init__(self, what: str) -> None:
        super().__init__(f"the history holds a malformed object: {what}", hint="git fsck says more")


class Item(NamedTuple):
    """One line of a tree."""

    mode: bytes
    name: bytes
    oid: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a tree."""
        return self.mode.lstrip(b"0") == FOLDER

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file: neither folder, symbolic link nor submodule."""
        return self.mode.lstrip(b"0").startswith(b"100")


def read_tree(data: bytes, width: int) -> list[Item]:
    """The lines of a tree in its order; ``width`` is that of its ids in bytes."""
    items = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at)
        end = data.find(b"\0", space)
        if not at < space < end < len(data) - width:
            raise MalformedObject("a tree that breaks off")
        items.append(Item(data[at:space], data[space + 1 : end], data[end + 1 : end + 1 + width].hex()))
        at = end + 1 + width
    return items


def render_tree(items: Sequence[Item]) -> bytes:
    """The tree of these lines."""
    return b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(oid)) for mode, name, oid in items)


def with_item(items: Sequence[Item], item: Item) -> list[Item]:
    """The lines with ``item`` in place of the one of its name, or where Git sorts it."""
    if any(other.name == item.name for other in items):
        return [item if other.name == item.name else other for other in items]
    at = next((at for at, other in enumerate(items) if _sorts_as(other) > _sorts_as(item)), len(items))
    return [*items[:at], item, *items[at:]]


def _sorts_as(item: Item) -> bytes:
    return item.name + b"/" if item.is_folder else item.name


def links(commit: bytes) -> tuple[str, list[str]]:
    """The tree and the parents of a commit."""
    first, *lines = commit.split(b"\n\n", 1)[0].split(b"\n")
    parents = takewhile(lambda line: line.startswith(b"parent "), lines)
    return _oid(first, b"tree "), [_oid(line, b"parent ") for line in parents]


def relinked(commit: bytes, tree: str, parents: Sequence[str]) -> tuple[bytes, bool]:
    """The commit with another tree and parents, and whether a signature was dropped, which would be wrong now."""
    head, gap, message = commit.partition(b"\n\n")
    lines = head.split(b"\n")[1 + len(links(commit)[1]) :]
    kept = list(_unsigned(lines))
    changed = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents), *kept]
    return b"\n".join(changed) + gap + message, len(kept) < len(lines)


def tag_target(tag: bytes) -> tuple[str, bytes]:
    """The id and the kind of what an annotated tag names."""
    first, second, *_ = [*tag.split(b"\n", 2), b""]
    return _oid(first, b"object "), second.removeprefix(b"type ")


def retargeted(tag: bytes, target: str) -> tuple[bytes, bool]:
    """The tag on another object of the same kind, and whether a signature was dropped."""
    head, gap, message = tag.partition(b"\n\n")
    lines = head.split(b"\n")[1:]
    kept = list(_unsigned(lines))
    signatures = list(_TAG_SIGNATURE.finditer(message))
    unsigned = message[: signatures[-1].start()] if signatures else message
    changed = b"\n".join([b"object " + target.encode(), *kept]) + gap + unsigned
    return changed, bool(signatures) or len(kept) < len(lines)


def _unsigned(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Header lines without signatures; a line that begins with a space goes on with the one before."""
    dropping = False
    for line in lines:
        dropping = dropping if line.startswith(b" ") else line.split(b" ", 1)[0] in SIGNATURES
        if not dropping:
            yield line


def _oid(line: bytes, label: bytes) -> str:
    if not line.startswith(label):
        raise MalformedObject(f"expected {label.decode()}and an id, found {line[:60]!r}")
    return line[len(label) :].decode()
