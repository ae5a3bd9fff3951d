"""What became of each group in every version, decided on digests: manifests enter, decisions leave, no tensor is read.

The rule is that of a three-way merge, key by key, for any number of versions: whoever differs from the base changed
it; if all who did agree, theirs is the value; if not, both changed. What always holds: every key of every version
gets exactly one decision, and the order of the decisions is ours with the others' additions in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from git_theta.formats.pieces import in_place
from git_theta.model import Digest, Entry, Group, Manifest

T = TypeVar("T")

OURS = 0
"""The place of our version among the versions; the others follow."""


class Verdict(Enum):
    """What the versions did to one key. The value is the word for it in the table of a merge."""

    UNCHANGED = "unchanged"
    OURS = "ours"
    THEIRS = "theirs"
    SAME = "same"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Held:
    """A group as one version has it: equal to another when bytes, dtype, shape, view and ties are.

    ``ties`` are the names that share its bytes. ``entry`` says where the bytes are.
    """

    group: Group
    digest: Digest
    ties: tuple[str, ...]
    entry: Entry = field(compare=False)

    def fits(self, other: Held | None) -> bool:
        """Whether the two have their numbers in the same places, so that they can be combined one by one."""
        return other is not None and (self.group, self.ties) == (other.group, other.ties)


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """One key: what ``base`` and the versions have, None where it is absent.

    ``changed`` are the places of the versions that differ from the base; ``taken`` is the place of the version
    whose value stands, ours where both changed.
    """

    name: str
    verdict: Verdict
    base: T | None
    versions: tuple[T | None, ...]
    changed: tuple[int, ...]
    taken: int

    @property
    def value(self) -> T | None:
        """What stands in the result, as far as it is decided."""
        return self.versions[self.taken]


def groups_of(manifest: Manifest | None) -> dict[str, Held]:
    """The groups of one version by name, in file order; none where the version does not exist."""
    held = {}
    for entry in manifest.entries if manifest else ():
        ties = tuple(sorted(group.name for group in entry.groups)) if len(entry.groups) > 1 else ()
        for group in entry.groups:
            held[group.name] = Held(group, entry.digest, ties, entry)
    return held


Between = Mapping[tuple[int, int], Mapping[str, T]]
"""What pairs of versions, by their places, have from a common ancestor of their own."""


def decide(
    base: Mapping[str, T], versions: Sequence[Mapping[str, T]], between: Between[T] | None = None
) -> list[Decision[T]]:
    """One decision for every key that the base or a version has; those of the base alone are left out.

    Of more than two versions some may be closer to each other than to the base. ``between`` has their own ancestors:
    a version that did not touch a key since one of them, where the other did, has nothing to say about it.
    """
    return [
        _judge(
            name,
            base.get(name),
            tuple(version.get(name) for version in versions),
            {pair: ancestor.get(name) for pair, ancestor in (between or {}).items()},
        )
        for name in in_place(versions)
    ]


def _judge(
    name: str, base: T | None, versions: tuple[T | None, ...], between: Mapping[tuple[int, int], T | None]
) -> Decision[T]:
    differing = {at for at, value in enumerate(versions) if value != base}
    steps = {
        (at, other)
        for pair, ancestor in between.items()
        for at, other in (pair, pair[::-1])
        if versions[at] == ancestor and versions[other] != ancestor
    }
    overtaken = {at for at, _ in steps}
    # Whoever overtook another changed it, even back to what the base has.
    latest = (differing | {other for _, other in steps}) - overtaken
    changed = tuple(sorted(latest or differing))
    if not changed:
        return Decision(name, Verdict.UNCHANGED, base, versions, changed, OURS)
    first = versions[changed[0]]
    if any(versions[at] != first for at in changed):
        return Decision(name, Verdict.BOTH, base, versions, changed, OURS)
    verdict = Verdict.THEIRS if OURS not in changed else Verdict.OURS if len(changed) == 1 else Verdict.SAME
    return Decision(name, verdict, base, versions, changed, changed[0])
