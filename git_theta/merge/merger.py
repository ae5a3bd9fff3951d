"""The merge of whole checkpoints: manifests enter, the manifest of the result leaves, with the story of every group.

What always holds: every group of the result is one that a version has, byte for byte, or what a strategy made of
several; the objects of what was made are in the store before the result is returned; a conflict leaves ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO

from git_theta.errors import ThetaError
from git_theta.formats.building import Built, Piece, Side, build, may_repeat
from git_theta.merge.combine import Combined, combine
from git_theta.merge.decide import OURS, Decision, Held, decide, groups_of
from git_theta.merge.leaves import Fingerprint, fingerprints
from git_theta.merge.outline import Outline, Part, keeps, outline
from git_theta.merge.plan import Action, Policy, Remembered, Stop, Take, plan, plan_leaves
from git_theta.model import (
    SKELETON_NAME,
    Entry,
    Inline,
    Layout,
    Manifest,
    Oid,
    Skeleton,
    Span,
    StoredObject,
    Where,
)
from git_theta.store import Store
from git_theta.tensors import Reader, Writer
from git_theta.tensors.frame import FrameSource

SKELETON_LIMIT = 256 << 20
"""Bytes of a skeleton that is looked into for values besides tensors, and built anew."""

Bring = Callable[[Sequence[StoredObject]], Mapping[Oid, str]]
"""Get objects from elsewhere into the store; returns why for each that did not come."""


class DifferentContainers(ThetaError):
    """The versions are files of different formats, so no file could hold both."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What is merged: ours first, then the others. ``names`` is what people call them; weights and Fisher diagonals
    are in the same order. ``between`` are common ancestors of pairs of several versions, by their places."""

    base: Manifest | None
    manifests: tuple[Manifest, ...]
    names: tuple[str, ...] = ("ours", "theirs")
    weights: tuple[float, ...] | None = None
    fisher: tuple[Manifest, ...] = ()
    between: Mapping[tuple[int, int], Manifest | None] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Manifest, ...]:
        """The versions, and the base behind them."""
        return (*self.manifests, *([self.base] if self.base else []))


@dataclass(frozen=True, slots=True)
class Merged:
    """The result, and what was done about every group and every value besides tensors.

    ``missing`` says of objects that the result names and that are not here why they did not come.
    """

    manifest: Manifest
    groups: tuple[tuple[Decision[Held], Action], ...]
    leaves: tuple[tuple[Decision[Fingerprint], Action], ...]
    missing: Mapping[Oid, str]

    @property
    def conflicts(self) -> list[tuple[str, str]]:
        """Groups, then other values, that are not decided, each with the reason."""
        settled: list[tuple[Decision[Held] | Decision[Fingerprint], Action]] = [*self.groups, *self.leaves]
        return [(decision.name, action.why) for decision, action in settled if isinstance(action, Stop)]


class Merger:
    """Merges checkpoints of one store. ``bring`` is asked for objects that are not here."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        writer: Writer,
        threads: int,
        bring: Bring = lambda _: {},
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._store, self._reader, self._writer = store, reader, writer
        self._threads, self._bring, self._progress = threads, bring, progress

    def merge(
        self, versions: Versions, policy: Policy, remembered: Remembered = lambda _: None, seed: int = 0
    ) -> Merged:
        """Merge ``versions``. Raises :class:`DifferentContainers`, other :class:`ThetaError`, OSError."""
        settled = settle(versions, policy, remembered)
        plans = outline(settled, versions.weights)
        alike = all(m.skeleton.digest == versions.manifests[OURS].skeleton.digest for m in versions.manifests)
        # Names that may have been made unique are looked into by whoever builds, who refuses them.
        unsure = any(may_repeat(layout_of(manifest)) for manifest in versions.all)
        framed = unsure or not (alike and keeps(plans.parts, versions.manifests[OURS]))
        reasons = self._bring(list(self._needed(versions, plans, framed)))
        combined = combine(
            plans.jobs,
            self._reader,
            self._writer,
            priors=versions.all,
            threads=self._threads,
            seed=seed,
            progress=self._progress,
        )
        leaves: list[tuple[Decision[Fingerprint], Action]] = []
        if framed:
            sides = self._sides(versions)
            leaves = _settle_leaves(versions, sides, policy)
            built = self._build(versions, sides, plans, leaves, combined.crcs)
            skeleton = self._store_skeleton(versions, built)
            layout = built.layout
        else:
            skeleton, layout = _whole(versions.manifests[OURS].skeleton), layout_of(versions.manifests[OURS])
        manifest = _assemble(versions, plans, layout, skeleton, combined)
        for stored in manifest.objects:
            self._store.use(stored.oid)
        away = [stored.oid for stored in manifest.objects if not self._store.has(stored.oid, stored.size)]
        missing = {oid: reasons.get(oid, "nobody has it") for oid in away}
        return Merged(manifest, tuple(settled), tuple(leaves), missing)

    def leaves(self, versions: Versions, policy: Policy) -> list[tuple[Decision[Fingerprint], Action]]:
        """What would be done about every value besides tensors; reads the skeletons, and brings them if need be."""
        table = {stored.oid: stored for manifest in versions.all for stored in manifest.objects}
        self._bring(_closed([manifest.skeleton.where for manifest in versions.all], table))
        return _settle_leaves(versions, self._sides(versions), policy)

    def _needed(self, versions: Versions, plans: Outline, framed: bool) -> Iterator[StoredObject]:
        """Objects of the result and of what it is made of, bases included."""
        table = {stored.oid: stored for manifest in (*versions.all, *versions.fisher) for stored in manifest.objects}
        places = [part.entry.where for part in plans.parts if part.job is None]
        for job in plans.jobs:
            operands = [*job.models, *job.fisher, *([job.base] if job.base else [])]
            places += [entry.where for entry in operands]
        if framed:
            places += [manifest.skeleton.where for manifest in versions.all]
        yield from _closed(places, table)

    def _sides(self, versions: Versions) -> list[Side]:
        return [self._side(manifest, manifest is versions.base) for manifest in versions.all]

    def _side(self, manifest: Manifest, is_base: bool) -> Side:
        if manifest.skeleton.length > SKELETON_LIMIT:
            raise ThetaError(f"the bytes between its tensors are {manifest.skeleton.length:,}, too many to merge")
        skeleton = b"".join(bytes(part) for part in self._reader.value(SKELETON_NAME, manifest.skeleton))
        return Side(FrameSource(manifest, skeleton), layout_of(manifest), is_base)

    def _build(
        self,
        versions: Versions,
        sides: Sequence[Side],
        plans: Outline,
        leaves: Sequence[tuple[Decision[Fingerprint], Action]],
        crcs: Sequence[int],
    ) -> Built:
        spans = [{id(entry): at for at, entry in enumerate(manifest.entries)} for manifest in versions.all]
        pieces = [
            Piece(
                tuple(part.groups),
                part.entry.length,
                part.place,
                spans[part.place][id(part.entry)],
                None if part.job is None else crcs[part.job],
            )
            for part in plans.parts
        ]
        origins = {}
        for decision, action in leaves:
            place = action.place if isinstance(action, Take) else OURS
            value = decision.base if place < 0 else decision.versions[place]
            if value is not None:
                origins[decision.name] = place if place >= 0 else len(versions.manifests)
        return build(versions.manifests[OURS].format, sides, pieces, origins)

    def _store_skeleton(self, versions: Versions, built: Built) -> _Frame:
        digest = sha256(built.skeleton).hexdigest()
        for manifest in versions.all:
            if manifest.skeleton.digest == digest:
                return _whole(manifest.skeleton)
        layout = Layout(built.layout.format, len(built.skeleton), ())
        result = self._writer.write(layout, BytesIO(built.skeleton))
        return result.manifest.skeleton, result.manifest.objects


def settle(
    versions: Versions, policy: Policy, remembered: Remembered = lambda _: None
) -> list[tuple[Decision[Held], Action]]:
    """What would be done about every group; reads nothing but the manifests. Raises :class:`DifferentContainers`."""
    formats = [manifest.format for manifest in versions.manifests]
    if len(set(formats)) > 1:
        sides = ", ".join(f"{name} is {format}" for name, format in zip(versions.names, formats, strict=True))
        raise DifferentContainers(f"files of different formats cannot be merged: {sides}")
    between = {pair: groups_of(ancestor) for pair, ancestor in versions.between.items()}
    decisions = decide(groups_of(versions.base), [groups_of(manifest) for manifest in versions.manifests], between)
    fisher = [groups_of(manifest) for manifest in versions.fisher]
    return list(zip(decisions, plan(decisions, policy, remembered, fisher), strict=True))


def _settle_leaves(
    versions: Versions, sides: Sequence[Side], policy: Policy
) -> list[tuple[Decision[Fingerprint], Action]]:
    """The same for values besides tensors. ``sides`` are those of the versions, then of the base if there is one."""
    container = versions.manifests[OURS].format
    found = [fingerprints(container, side.frame) for side in sides[: len(versions.manifests)]]
    base = versions.base
    before = fingerprints(base.format, sides[-1].frame) if base and base.format == container else {}
    decisions = decide(before, found)
    return list(zip(decisions, plan_leaves(decisions, policy), strict=True))


def layout_of(manifest: Manifest) -> Layout:
    """Where the groups of a stored checkpoint are in its file."""
    spans, at = [], 0
    for entry in manifest.entries:
        spans.append(Span(at + entry.gap, entry.length, entry.groups))
        at += entry.gap + entry.length
    return Layout(manifest.format, manifest.size, tuple(spans))


_Frame = tuple[Skeleton, tuple[StoredObject, ...]]
"""A skeleton, and the objects it needs besides those of the versions."""


def _whole(skeleton: Skeleton) -> _Frame:
    return skeleton, ()


def _assemble(
    versions: Versions,
    plans: Outline,
    layout: Layout,
    skeleton: _Frame,
    combined: Combined,
) -> Manifest:
    """The manifest of the result: every span where ``layout`` has it, with the value its part says."""
    parts: dict[str, Part] = {group.name: part for part in plans.parts for group in part.groups}
    entries, at = [], 0
    for span in layout.spans:
        part = parts[span.groups[0].name]
        value = part.entry if part.job is None else combined.entries[part.job]
        entries.append(Entry(span.groups, span.start - at, span.length, value.digest, value.where))
        at = span.end
    frame, anew = skeleton
    table = {stored.oid: stored for manifest in versions.all for stored in manifest.objects}
    table |= {stored.oid: stored for stored in (*combined.objects, *anew)}
    objects = _closed([frame.where, *(entry.where for entry in entries)], table)
    return Manifest(layout.format, layout.size, frame, tuple(entries), tuple(sorted(objects, key=lambda o: o.oid)))


def _closed(places: Iterable[Where], table: Mapping[Oid, StoredObject]) -> list[StoredObject]:
    """The objects at ``places``, with all that they are based on."""
    pending = [slot.oid for place in places if not isinstance(place, Inline) for slot in place]
    found: dict[Oid, StoredObject] = {}
    while pending:
        oid = pending.pop()
        if oid not in found:
            found[oid] = table[oid]
            pending += table[oid].bases
    return list(found.values())
