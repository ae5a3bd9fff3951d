"""What differs between two checkpoints, decided on digests: no tensor is read and nothing is hidden by a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from git_theta.model import Digest, Group, Layout, Manifest, Oid


class Kind(Enum):
    """What happened to a group. The value is the mark in front of its line."""

    ADDED = "+"
    REMOVED = "-"
    CHANGED = "~"


@dataclass(frozen=True, slots=True)
class Value:
    """A group and the bytes it looks into."""

    group: Group
    bytes: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Summary:
    """One side of a comparison: its groups in file order, and the digest of everything else.

    ``objects`` maps what it is stored in to sizes in bytes; None when it is not stored.
    """

    format: str
    size: int
    skeleton: Digest
    values: tuple[Value, ...]
    objects: dict[Oid, int] | None


@dataclass(frozen=True, slots=True)
class Change:
    """One group that differs. ``old`` is None when it was added, ``new`` when it was removed."""

    kind: Kind
    name: str
    old: Value | None
    new: Value | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All changes: those of the new file in its order, then removed groups in the old one's.

    ``unchanged`` counts groups; ``frame_changed`` says that bytes outside every group differ.
    """

    old: Summary | None
    new: Summary | None
    changes: tuple[Change, ...]
    unchanged: int
    frame_changed: bool

    def count(self, kind: Kind) -> int:
        """How many groups changed in this way."""
        return sum(change.kind is kind for change in self.changes)


def of_manifest(manifest: Manifest) -> Summary:
    """The summary of a stored checkpoint."""
    values = (Value(group, e.length, e.digest) for e in manifest.entries for group in e.groups)
    objects = {stored.oid: stored.size for stored in manifest.objects}
    return Summary(manifest.format, manifest.size, manifest.skeleton.digest, tuple(values), objects)


def of_layout(layout: Layout, digests: Sequence[Digest], skeleton: Digest) -> Summary:
    """The summary of a file that is not stored, from its layout and the digests of its spans and skeleton."""
    pairs = zip(layout.spans, digests, strict=True)
    values = (Value(group, span.length, digest) for span, digest in pairs for group in span.groups)
    return Summary(layout.format, layout.size, skeleton, tuple(values), None)


def compare(old: Summary | None, new: Summary | None) -> Comparison:
    """What became of each group, by name. A side is None when the file is absent there."""
    before = {value.group.name: value for value in old.values} if old else {}
    after = {value.group.name: value for value in new.values} if new else {}
    changes = [
        Change(Kind.CHANGED if name in before else Kind.ADDED, name, before.get(name), value)
        for name, value in after.items()
        if before.get(name) != value
    ]
    removed = [Change(Kind.REMOVED, name, value, None) for name, value in before.items() if name not in after]
    unchanged = len(after) - len(changes)
    frame = bool(old and new and old.skeleton != new.skeleton)
    return Comparison(old, new, (*changes, *removed), unchanged, frame)
