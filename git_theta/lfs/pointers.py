"""Git LFS pointers (git-lfs docs/spec.md, version 1): how hosts and git-lfs itself recognise a stored object."""

from __future__ import annotations

import re

from git_theta.errors import ThetaError
from git_theta.model import Oid, StoredObject

POINTER_LIMIT = 1024
"""git-lfs takes nothing longer for a pointer."""
# git-lfs reads the addresses of its first years, and lines of extensions, too.
_POINTER = re.compile(
    rb"version (?:https://git-lfs\.github\.com/spec/v1|https://hawser\.github\.com/spec/v1|http://git-media\.io/v/2)\n"
    rb"(?P<extensions>(?:ext-[^\n]*\n)*)oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>[0-9]{1,18})\s*"
)


class ExtendedPointer(ThetaError):
    """A pointer whose object is not the file itself, but what an extension made of it."""


def render_pointer(stored: StoredObject) -> bytes:
    """The one valid pointer of an object."""
    lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{stored.oid}", f"size {stored.size}", "")
    return "\n".join(lines).encode()


def parse_pointer(text: bytes) -> StoredObject | None:
    """The object a pointer stands for; None for what is no pointer. Raises :class:`ExtendedPointer`."""
    match = _POINTER.fullmatch(text) if len(text) < POINTER_LIMIT else None
    if match is None:
        return None
    if match["extensions"]:
        raise ExtendedPointer("a pointer of a git-lfs extension, which only that extension can read")
    return StoredObject(Oid(match["oid"].decode()), int(match["size"]))
