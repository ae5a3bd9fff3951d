"""A workbench for the filters: one store, and checkpoints small enough to read in a test."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from git_theta.filters.clean import Cleaner
from git_theta.filters.smudge import Smudger
from git_theta.store import Catalogue, Store


def safetensors(values: Mapping[str, bytes], note: str = "") -> bytes:
    """A safetensors file of byte vectors."""
    header: dict[str, object] = {"__metadata__": {"note": note}} if note else {}
    at = 0
    for name, data in values.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(values.values())


class Bench:
    """One store below ``root``, as one filter process sees it."""

    def __init__(self, root: Path, limit: int = 1 << 40) -> None:
        self.store = Store(root)
        self.catalogue = Catalogue(self.store)
        self.told: list[int] = []
        self.cleaner = Cleaner(self.store, self.catalogue, 2, self.told.append)
        self.smudger = Smudger(self.store, self.catalogue, 2, limit)

    def smudge(self, text: bytes) -> bytes:
        """A checkpoint's bytes; fails when they are only a placeholder."""
        smudged = self.smudger.smudge(text)
        assert smudged.problem is None
        return b"".join(bytes(part) for part in smudged.parts)

    def paths(self) -> list[Path]:
        """The files of all objects, made writable, the largest first."""
        found = [self.store.path(oid) for oid, _ in self.store.oids()]
        for path in found:
            path.chmod(0o644)
        return sorted(found, key=lambda path: -path.stat().st_size)


@contextmanager
def workbench(root: Path, limit: int = 1 << 40) -> Iterator[Bench]:
    """A bench whose catalogue is closed at the end."""
    bench = Bench(root, limit)
    try:
        yield bench
    finally:
        bench.catalogue.close()
