"""Look at a file without storing it: its groups and their digests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from typing import IO

from git_theta.formats import FileSource, Scan, scan
from git_theta.model import Digest, Span

_BLOCK = 1 << 20


def examine(file: IO[bytes], forced_format: str | None = None) -> tuple[Scan, list[Digest]]:
    """The layout of an open file and the digest of each span."""
    found = scan(FileSource(file, file.seek(0, os.SEEK_END)), forced_format)
    return found, [_digest(file, span) for span in found.layout.spans]


def _digest(file: IO[bytes], span: Span) -> Digest:
    hashed = sha256()
    for block in _blocks(file, span):
        hashed.update(block)
    return Digest(hashed.hexdigest())


def _blocks(file: IO[bytes], span: Span) -> Iterator[bytes]:
    file.seek(span.start)
    left = span.length
    while left and (block := file.read(min(left, _BLOCK))):
        left -= len(block)
        yield block
