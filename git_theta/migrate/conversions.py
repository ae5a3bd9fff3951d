"""What a migration makes of one file: Git LFS pointers and whole files become manifests, manifests become either.

Contents enter and leave as streams; memory does not grow with a file. What always holds: a pointer's file has
the sha256 the pointer names, a manifest's has every digest, or the migration stops with commit and path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from io import BytesIO
from typing import IO

from git_theta.errors import Exit, ThetaError
from git_theta.gitio.attributes import GIT_LFS, filter_of, track, untrack
from git_theta.gitio.objects import Objects
from git_theta.gitio.packs import Packer, Sink
from git_theta.lfs import POINTER_LIMIT, parse_pointer, render_pointer
from git_theta.manifest import looks_like_manifest, parse
from git_theta.migrate.survey import Place, Stopped, Verdict
from git_theta.model import Manifest, Oid, StoredObject
from git_theta.store import Store
from git_theta.tensors.writer import Content

HEAD = 64 << 10
"""Bytes that tell a manifest from a checkpoint."""
MANIFEST_LIMIT = 256 << 20
"""No manifest is longer."""

Clean = Callable[[bytes, Content], bytes]
"""The manifest of a file that was committed at a path."""
Stream = Callable[[Manifest], Iterator[memoryview]]
"""A manifest's file, part by part, checked before the end."""
Bring = Callable[[Iterable[StoredObject]], Mapping[Oid, str]]
"""Get objects that are not here; returns why for each that did not come."""


class NotHere(Stopped):
    """A file's bytes are neither here nor on a remote."""

    exit_code = Exit.MISSING


class DamagedFile(ThetaError):
    """The file git-lfs keeps for a pointer is not the one that the pointer names."""

    exit_code = Exit.DAMAGED


class Import:
    """To manifests. ``media`` is where git-lfs keeps its files; None leaves pointers as they are."""

    def __init__(
        self, objects: Objects, sink: Sink, clean: Clean, *, media: Store | None, blobs: bool, bring: Bring
    ) -> None:
        self._objects, self._sink, self._clean = objects, sink, clean
        self._media, self._from_blobs, self._bring = media, blobs, bring
        self._pointers: dict[str, StoredObject] = {}
        self._places: dict[StoredObject, Place] = {}

    def look(self, blob: str, place: Place) -> tuple[Verdict, int]:
        """Pointers and whole files are converted as asked for; what begins as a manifest is one already."""
        size = self._objects.size(blob)
        head = self._objects.head(blob, HEAD)
        if not head or looks_like_manifest(head):  # an empty file is its own manifest, and its own pointer
            return Verdict.DONE, 0
        pointer = _pointer(head, place) if size < POINTER_LIMIT else None
        if pointer is None:
            return (Verdict.CONVERT if self._from_blobs else Verdict.LEAVE), size
        if self._media is None:
            return Verdict.LEAVE, size
        self._pointers[blob] = pointer
        if pointer.size:  # nothing is kept of an empty one
            self._places.setdefault(pointer, place)
        return Verdict.CONVERT, pointer.size

    def gather(self) -> None:
        """Have git-lfs fetch the files of pointers that are not here."""
        _gather(self._places, self._media, self._bring)

    def convert(self, blob: str, place: Place) -> str:
        """The manifest's blob."""
        pointer = self._pointers.get(blob)
        if pointer is not None:
            text = self._clean_media(pointer, place)
        else:
            with self._objects.stream(blob) as content:
                text = self._clean(place.path, content)
        return self._sink.add(b"blob", text)

    def attributes(self, text: bytes, pattern: bytes) -> bytes:
        """The pattern is ours."""
        return track(text, pattern)

    def nested(self, text: bytes, pattern: bytes) -> bytes:
        """What was git-lfs's is ours."""
        return track(text, pattern) if self._media and filter_of(text, pattern) == b"lfs" else text

    def _clean_media(self, pointer: StoredObject, place: Place) -> bytes:
        with self._open(pointer) as file:
            content = _Hashed(file)
            text = self._clean(place.path, content)
        if content.digest != pointer.oid:
            raise DamagedFile(
                f"the file git-lfs keeps for {pointer.oid} has sha256 {content.digest}",
                hint="git lfs fsck; git lfs fetch brings a good one",
            )
        return text

    def _open(self, pointer: StoredObject) -> IO[bytes]:
        if self._media is None or not pointer.size:
            return BytesIO()
        return open(self._media.open(pointer.oid), "rb", buffering=0)


class Export:
    """From manifests, to pointers with ``to_lfs``, else to blobs that hold the whole file. ``write`` makes the blob."""

    def __init__(
        self, objects: Objects, store: Store, write: Callable[[Manifest], str], *, to_lfs: bool, bring: Bring
    ) -> None:
        self._objects, self._store = objects, store
        self._write, self._to_lfs, self._bring = write, to_lfs, bring
        self._places: dict[StoredObject, Place] = {}

    def look(self, blob: str, place: Place) -> tuple[Verdict, int]:
        """Valid manifests are converted."""
        size = self._objects.size(blob)
        head = self._objects.head(blob, HEAD)
        if not looks_like_manifest(head) or size > MANIFEST_LIMIT:
            pointer = size < POINTER_LIMIT and _pointer(head, place) is not None
            return (Verdict.DONE if not size or pointer == self._to_lfs else Verdict.LEAVE), size
        try:
            manifest = self._manifest(blob)
        except ThetaError:  # somebody's conflict or edit: there is no file behind it
            return Verdict.LEAVE, size
        for stored in manifest.objects:
            self._places.setdefault(stored, place)
        return Verdict.CONVERT, manifest.size

    def gather(self) -> None:
        """Bring the objects of all manifests that are not here."""
        _gather(self._places, self._store, self._bring)

    def convert(self, blob: str, _place: Place) -> str:
        """The pointer's blob, or the file's."""
        return self._write(self._manifest(blob))

    def attributes(self, text: bytes, pattern: bytes) -> bytes:
        """The pattern is git-lfs's, or nobody's."""
        return track(text, pattern, GIT_LFS) if self._to_lfs else untrack(text, pattern)

    def nested(self, text: bytes, pattern: bytes) -> bytes:
        """What was ours becomes what it becomes at the top."""
        return self.attributes(text, pattern) if filter_of(text, pattern) == b"theta" else text

    def _manifest(self, blob: str) -> Manifest:
        return parse(self._objects.get(blob)[1])


def to_pointer(manifest: Manifest, stream: Stream, media: Store, sink: Sink) -> str:
    """Give the file to git-lfs, and return the blob of its pointer."""
    draft = media.draft()
    try:
        draft.write(stream(manifest))
        pointer = StoredObject(draft.put(), draft.size)
    finally:
        draft.discard()
    return sink.add(b"blob", render_pointer(pointer))


def to_blob(manifest: Manifest, stream: Stream, packer: Packer) -> str:
    """Put the file into Git as it is, and return its blob."""
    return packer.add_blob(manifest.size, stream(manifest))


class _Hashed:
    """A file as content, hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, sha256()

    def readinto(self, target: memoryview) -> int:
        filled = 0
        while filled < len(target) and (part := self._file.read(min(len(target) - filled, 1 << 20))):
            target[filled : filled + len(part)] = part
            self._hash.update(part)
            filled += len(part)
        return filled

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def _pointer(text: bytes, place: Place) -> StoredObject | None:
    try:
        return parse_pointer(text)
    except ThetaError as error:
        raise Stopped(place, str(error), error) from None


def _gather(places: Mapping[StoredObject, Place], store: Store | None, bring: Bring) -> None:
    """Bring what is not in ``store``; raises :class:`NotHere` for the first that does not come."""
    absent = [stored for stored in places if store and not store.has(stored.oid, stored.size)]
    failures = bring(absent) if absent else {}
    for stored in absent:
        if stored.oid in failures:
            more = f" (and {len(failures) - 1:,} more)" if len(failures) > 1 else ""
            raise NotHere(places[stored], f"object {stored.oid} cannot be had: {failures[stored.oid]}{more}")
