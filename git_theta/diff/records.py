"""What differs between two checkpoints, decided on digests: no tensor is read and nothing is hidden by a tolerance."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from git_theta.errors import ThetaError
from git_theta.manifest import Glance, glance, parse_span
from git_theta.manifest.glance import groups, names, parameters
from git_theta.model import Digest, Group, Layout, Manifest, Oid


class Kind(Enum):
    """What happened to a group. The value is the mark in front of its line."""

    ADDED = "+"
    REMOVED = "-"
    CHANGED = "~"
    RENAMED = ">"
    RESHAPED = "="  # the same bytes under the same name, with another dtype, shape or view
    TIED = "&"  # the same value, which shares its bytes with other groups than before


@dataclass(frozen=True, slots=True)
class Value:
    """A group and the bytes it looks into; ``ties`` are the other groups that share these bytes."""

    group: Group
    bytes: int
    digest: Digest
    ties: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Alike:
    """Groups that both sides have alike, where they were only counted; ``parameters`` are their elements."""

    groups: int = 0
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """One side of a comparison: its groups in file order, and the digest of everything else.

    ``objects`` maps what it is stored in to sizes in bytes; None when it is not stored. ``alike`` are groups that
    ``values`` leaves out.
    """

    format: str
    size: int
    skeleton: Digest
    values: tuple[Value, ...]
    objects: dict[Oid, int] | None
    alike: Alike = Alike()

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.values) + self.alike.groups


@dataclass(frozen=True, slots=True)
class Change:
    """One group that differs. ``old`` is None when it was added, ``new`` when it was removed.

    ``tied`` and ``untied`` are the groups, present on both sides, that it shares its bytes with now or no longer.
    """

    kind: Kind
    name: str
    old: Value | None
    new: Value | None
    tied: tuple[str, ...] = ()
    untied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """All changes: those of the new file in its order, then removed groups in the old one's.

    ``unchanged`` counts groups, ``moved`` those of them that have another place among the others; ``frame_changed``
    says that bytes outside every group differ.
    """

    old: Summary | None
    new: Summary | None
    changes: tuple[Change, ...]
    unchanged: int
    moved: int
    frame_changed: bool

    def count(self, *kinds: Kind) -> int:
        """How many groups changed in one of these ways."""
        return sum(change.kind in kinds for change in self.changes)

    @property
    def stored(self) -> int | None:
        """Bytes of the objects that only the new side needs; None where a side is not stored."""
        if not self.new or self.new.objects is None or (self.old and self.old.objects is None):
            return None
        before = self.old.objects if self.old and self.old.objects else {}
        return sum(size for oid, size in self.new.objects.items() if oid not in before)

    @property
    def equal(self) -> bool:
        """Whether both sides are the same bytes."""
        sides = self.old is not None and self.new is not None
        return sides and not (self.changes or self.moved or self.frame_changed)


def of_manifest(manifest: Manifest) -> Summary:
    """The summary of a stored checkpoint."""
    objects = {stored.oid: stored.size for stored in manifest.objects}
    values: list[Value] = []
    for entry in manifest.entries:
        if len(entry.groups) == 1:  # nearly all of them
            values.append(Value(entry.groups[0], entry.length, entry.digest))
        else:
            values += _tied(entry.groups, entry.length, entry.digest)
    return Summary(manifest.format, manifest.size, manifest.skeleton.digest, tuple(values), objects)


def of_layout(layout: Layout, digests: Sequence[Digest], skeleton: Digest) -> Summary:
    """The summary of a file that is not stored, from its layout and the digests of its spans and skeleton."""
    pairs = zip(layout.spans, digests, strict=True)
    values = [value for span, digest in pairs for value in _tied(span.groups, span.length, digest)]
    return Summary(layout.format, layout.size, skeleton, tuple(values), None)


def _tied(groups: tuple[Group, ...], length: int, digest: Digest) -> Iterator[Value]:
    """The groups of one span, each with the others."""
    names = [group.name for group in groups]
    for group in groups:
        yield Value(group, length, digest, tuple(name for name in names if name != group.name))


def compare(old: Summary | None, new: Summary | None) -> Comparison:
    """What became of each group. A side is None when the file is absent there.

    A group that is gone while another of the same digest, dtype, shape and view came is one renamed group.
    """
    before = {value.group.name: value for value in old.values} if old else {}
    after = {value.group.name: value for value in new.values} if new else {}
    came = [value for name, value in after.items() if name not in before]
    gone = [value for name, value in before.items() if name not in after]
    source = _renamed(gone, came)
    changes = [
        change
        for name, value in after.items()
        if (change := _change(before.get(name) or source.get(name), value, before, after))
    ]
    kept = {value.group.name for value in source.values()}
    changes += [Change(Kind.REMOVED, v.group.name, v, None) for v in gone if v.group.name not in kept]
    frame = bool(old and new and (old.skeleton != new.skeleton or old.format != new.format))
    return replace(of_changes(old, new, tuple(changes)), frame_changed=frame)


def of_changes(old: Summary | None, new: Summary | None, changes: tuple[Change, ...]) -> Comparison:
    """The comparison of two sides whose changes are known, of groups alone."""
    before, after = ([value.group.name for value in side.values] if side else [] for side in (old, new))
    both = set(before).intersection(after) - _names_of(changes)
    moved = _moved(*([name for name in order if name in both] for order in (before, after)))
    unchanged = (new.groups if new else 0) - _present(changes)
    return Comparison(old, new, changes, unchanged, moved, frame_changed=False)


def compare_texts(old: bytes, new: bytes) -> Comparison | None:
    """As :func:`compare`, of two manifests of which only the lines that differ are parsed; None in any doubt."""
    before, after = glance(old), glance(new)
    if before is None or after is None:
        return None
    common = set(before.pieces).intersection(after.pieces)
    alike = [piece for piece in after.pieces if piece in common]
    try:
        orders = names(before.pieces), names(after.pieces)
        counted = Alike(groups(alike), parameters(alike))
        found = compare(*(_of_glance(side, common, counted) for side in (before, after)))
    except (ThetaError, ValueError):
        return None
    present = set(orders[0]), set(orders[1])
    if any(len(order) != len(unique) for order, unique in zip(orders, present, strict=True)):
        return None
    both = (present[0] & present[1]) - _names_of(found.changes)
    return replace(found, moved=_moved(*([name for name in order if name in both] for order in orders)))


def _of_glance(side: Glance, common: set[str], alike: Alike) -> Summary:
    """The summary of one side, as far as it has pieces of its own."""
    spans = [parse_span(f"group {piece}") for piece in side.pieces if piece not in common]
    values = tuple(value for groups, length, digest in spans for value in _tied(groups, length, digest))
    return Summary(side.format, side.size, side.skeleton, values, side.objects, alike)


def _present(changes: Sequence[Change]) -> int:
    return sum(change.new is not None for change in changes)


def _renamed(gone: list[Value], came: list[Value]) -> dict[str, Value]:
    """The old group of every new name, paired in file order."""
    waiting: dict[object, list[Value]] = {}
    for value in reversed(gone):
        waiting.setdefault(_content(value), []).append(value)
    found = {}
    for value in came:
        candidates = waiting.get(_content(value))
        if candidates:
            found[value.group.name] = candidates.pop()
    return found


def _content(value: Value) -> object:
    group = value.group
    return value.digest, value.bytes, group.dtype, group.shape, group.view


def _change(old: Value | None, new: Value, before: dict[str, Value], after: dict[str, Value]) -> Change | None:
    """What became of one group; None when nothing did."""
    name = new.group.name
    if old is None:
        return Change(Kind.ADDED, name, None, new)
    tied, untied = _ties(old, new, before, after) if old.ties or new.ties else ((), ())
    if old.digest != new.digest:
        kind = Kind.CHANGED
    elif old.group.name != name:
        kind = Kind.RENAMED
    elif old.group != new.group:
        kind = Kind.RESHAPED
    elif tied or untied:
        kind = Kind.TIED
    else:
        return None
    return Change(kind, name, old, new, tied, untied)


def _ties(
    old: Value, new: Value, before: dict[str, Value], after: dict[str, Value]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The groups on both sides that share bytes with this one only in the new file, and only in the old one."""
    tied = tuple(name for name in new.ties if name in before and name not in old.ties)
    untied = tuple(name for name in old.ties if name in after and name not in new.ties)
    return tied, untied


def _names_of(changes: Iterable[Change]) -> set[str]:
    """The groups that changed, by all their names: they have lines, and are not told as moved besides."""
    return {value.group.name for change in changes for value in (change.old, change.new) if value}


def _moved(old: list[str], new: list[str]) -> int:
    """How many of the same names stand elsewhere among the others: those outside the longest common order."""
    if old == new:
        return 0
    place = {name: at for at, name in enumerate(old)}
    ends: list[int] = []
    for name in new:
        at = bisect_left(ends, place[name])
        ends[at : at + 1] = [place[name]]
    return len(old) - len(ends)
