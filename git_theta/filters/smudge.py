"""Smudge: a manifest enters, the checkpoint's bytes leave, every digest checked before the end.

What always holds: no byte leaves unless the values it belongs to are known to be whole here, either because
they were verified on this machine and their objects have not been touched since, or because they are decoded
and checked first. Where an object cannot be had, the manifest itself is the answer, as a placeholder that Git
can hold, and the caller is told which group, which object and what to do. What is not a manifest passes
through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from git_theta.errors import ThetaError
from git_theta.filters.session import Smudged
from git_theta.manifest import DamagedManifest, ManifestFromNewerVersion, looks_like_manifest, parse, undo_line_ends
from git_theta.model import Digest, Manifest, Oid, Slot, StoredObject
from git_theta.store import Catalogue, Store
from git_theta.tensors import DamagedValue, MissingValue, Reader

WHOLE_IN_MEMORY = 64 << 20
"""Files up to this size are checked in memory and sent from there; larger ones are decoded twice when new here."""


class TooLarge(ThetaError):
    """Git would buffer the whole file in memory, so it gets a placeholder and the file is written otherwise."""


class StoreFailed(ThetaError):
    """The system would not let us read the store, or write a long skeleton to its scratch folder."""

    def __init__(self, error: OSError) -> None:
        place = error.filename or "the object store"
        super().__init__(f"{place}: {error.strerror or error}", hint="mend that, then git theta checkout")


Bring = Callable[[Sequence[StoredObject]], Mapping[Oid, str]]
"""Get objects from elsewhere into the store; returns why for each that did not come."""


class Smudger:
    """Turns manifests into checkpoints.

    ``limit`` is the largest file handed to Git, in bytes. ``bring`` is asked for objects that are not here.
    """

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        threads: int,
        limit: int,
        progress: Callable[[int], None] | None = None,
        bring: Bring | None = None,
    ) -> None:
        self._store, self._catalogue = store, catalogue
        self._reader = Reader(store, threads)
        self._limit, self._bring = limit, bring
        self._progress = progress

    def smudge(self, text: bytes) -> Smudged:
        """What Git is to write for the content ``text``."""
        if not looks_like_manifest(text[:65536]):
            return _as_is(text)
        try:
            manifest = parse(undo_line_ends(text))
        except (DamagedManifest, ManifestFromNewerVersion) as error:
            return _as_is(text, error)
        if manifest.size > self._limit:
            hint = "git theta checkout writes it directly (Git would hold all of it in memory)"
            return _as_is(text, TooLarge(f"{manifest.size:,} bytes are above theta.smudgeLimit", hint=hint))
        return self._content(text, manifest)

    def stream(self, manifest: Manifest) -> Iterator[memoryview]:
        """The file's bytes, for a caller that can throw them away when this raises :class:`DamagedValue`.

        Remembers that the values are whole once all of them were checked.
        """
        try:
            yield from self._told(self._reader.stream(manifest))
        except DamagedValue as error:
            self.distrust(error)
            raise
        self._catalogue.record(_places(manifest))

    def distrust(self, error: DamagedValue) -> None:
        """Believe nothing about the objects that failed, so that the next attempt checks before it writes."""
        for oid in error.oids:
            self._catalogue.distrust(oid)

    def _content(self, text: bytes, manifest: Manifest) -> Smudged:
        try:
            self.present(manifest)
            if manifest.size <= WHOLE_IN_MEMORY:
                return Smudged(iter([memoryview(b"".join(bytes(part) for part in self.stream(manifest)))]))
            places = set(_places(manifest))
            if self._catalogue.verified(places) != places:
                for _ in self.stream(manifest):
                    pass
        except DamagedValue as error:
            return _as_is(text, error)
        except OSError as error:
            return _as_is(text, StoreFailed(error))
        return Smudged(self.stream(manifest))

    def absent(self, text: bytes) -> list[StoredObject]:
        """The objects that the content ``text`` needs and that are not here; none when it is no manifest."""
        if not looks_like_manifest(text[:65536]):
            return []
        try:
            return self._absent(parse(undo_line_ends(text)))
        except (DamagedManifest, ManifestFromNewerVersion):
            return []

    def _absent(self, manifest: Manifest) -> list[StoredObject]:
        return [stored for stored in manifest.objects if not self._store.has(stored.oid, stored.size)]

    def present(self, manifest: Manifest) -> None:
        """Make every object of ``manifest`` be here; raises :class:`MissingValue` for the first group without."""
        absent = self._absent(manifest)
        reasons = self._bring(absent) if absent and self._bring else {}
        gone = {stored.oid for stored in absent if not self._store.has(stored.oid, stored.size)}
        for name, value in manifest.values() if gone else ():
            oids = [slot.oid for slot in value.where if slot.oid in gone] if isinstance(value.where, tuple) else []
            if oids:
                found = self._store.stat(oids[0])
                why = "it is not here" if found is None else f"it has {found.st_size:,} bytes, which is not its size"
                raise MissingValue(name, oids[:1], f"{why} ({reasons[oids[0]]})" if oids[0] in reasons else why)
        if gone:
            oid = min(gone)
            raise MissingValue("(base of another)", [oid], reasons.get(oid, "it is not here"))

    def _told(self, parts: Iterator[memoryview]) -> Iterator[memoryview]:
        for part in parts:
            yield part
            if self._progress:
                self._progress(len(part))


def _as_is(text: bytes, problem: ThetaError | None = None) -> Smudged:
    return Smudged(iter([memoryview(text)]), problem)


def _places(manifest: Manifest) -> list[tuple[Digest, tuple[Slot, ...]]]:
    return [(value.digest, value.where) for _, value in manifest.values() if isinstance(value.where, tuple)]
