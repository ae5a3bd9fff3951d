"""A workbench for values: a store with everything that works on it, and files cut as a test likes."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from git_theta.manifest import parse, render
from git_theta.model import Group, Layout, Manifest, Oid, Span
from git_theta.store import Catalogue, Store
from git_theta.tensors import Reader, Writer, WriteResult
from git_theta.tensors.writer import Reread

MIB = 1 << 20


def noise(length: int, seed: int = 1) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(length)


@dataclass(frozen=True)
class File:
    """A file and where its groups are."""

    data: bytes
    layout: Layout


def file(*parts: bytes | tuple[str, bytes]) -> File:
    """A file of skeleton bytes and named opaque values, in order."""
    data, spans = bytearray(), []
    for part in parts:
        if isinstance(part, tuple):
            name, value = part
            spans.append(Span(len(data), len(value), (Group(name, "opaque", (len(value),)),)))
            data += value
        else:
            data += part
    return File(bytes(data), Layout("opaque", len(data), tuple(spans)))


class Content:
    """Bytes as a stream, handed out at most ``step`` at a time below the surface, as a pipe does."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = memoryview(data), 0

    def readinto(self, target: memoryview) -> int:
        part = self._data[self.at : self.at + len(target)]
        target[: len(part)] = part
        self.at += len(part)
        return len(part)


class Bench:
    """One store below ``root``, as one process sees it."""

    def __init__(self, root: Path, threads: int = 2) -> None:
        self.store = Store(root)
        self.catalogue = Catalogue(self.store)
        self.reader = Reader(self.store, threads)
        self.writer = Writer(self.store, self.catalogue, self.reader, threads)

    def write(self, file: File, priors: Iterable[Manifest] = (), reread: Reread | None = None) -> WriteResult:
        """Store a file."""
        return self.writer.write(file.layout, Content(file.data), priors=tuple(priors), reread=reread)

    def read(self, manifest: Manifest) -> bytes:
        """A file's bytes, through the text of its manifest."""
        return b"".join(bytes(part) for part in self.reader.stream(parse(render(manifest))))

    def objects(self) -> dict[Oid, int]:
        """Every object with its size."""
        return dict(self.store.oids())

    def leftovers(self) -> list[str]:
        """What lies in the scratch folder."""
        return sorted(os.listdir(self.store.tmp)) if self.store.tmp.exists() else []


@contextmanager
def workbench(root: Path, threads: int = 2) -> Iterator[Bench]:
    """A bench whose catalogue is closed at the end."""
    bench = Bench(root, threads)
    try:
        yield bench
    finally:
        bench.catalogue.close()
