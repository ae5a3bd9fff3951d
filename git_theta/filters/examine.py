"""Look at a file without storing it: its groups and the digests it would have in a manifest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from typing import IO, Any

from git_theta.formats import FileSource, Scan, scan
from git_theta.model import Digest

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Examined:
    """A file's layout, the digest of each span in order, and the digest of all bytes between them."""

    scan: Scan
    digests: tuple[Digest, ...]
    skeleton: Digest


def examine(file: IO[bytes], forced_format: str | None = None) -> Examined:
    """Read an open file once, in blocks."""
    found = scan(FileSource(file, file.seek(0, os.SEEK_END)), forced_format)
    file.seek(0)
    skeleton, digests, at = sha256(), [], 0
    for span in found.layout.spans:
        _feed(file, skeleton, span.start - at)
        digest = sha256()
        _feed(file, digest, span.length)
        digests.append(Digest(digest.hexdigest()))
        at = span.end
    _feed(file, skeleton, found.layout.size - at)
    return Examined(found, tuple(digests), Digest(skeleton.hexdigest()))


def _feed(file: IO[bytes], hashed: Any, length: int) -> None:
    """Hash the next ``length`` bytes, or what there is of them."""
    while length and (block := file.read(min(length, _BLOCK))):
        hashed.update(block)
        length -= len(block)
