"""Objects from remotes, for ``git theta fetch``, ``pull`` and the smudge filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from git_theta.errors import ThetaError
from git_theta.model import Manifest, Oid, StoredObject


class NoSuchGroup(ThetaError):
    """No checkpoint that was asked for has a parameter group of such a name."""


def require_groups(manifests: Sequence[Manifest], patterns: Sequence[str]) -> None:
    """Raise :class:`NoSuchGroup` for the first of ``patterns`` that no group's name matches."""
    names = {group.name for manifest in manifests for entry in manifest.entries for group in entry.groups}
    for pattern in patterns if manifests else ():
        if not any(fnmatchcase(name, pattern) for name in names):
            raise NoSuchGroup(f"no parameter group is called {pattern!r}", hint="git theta show PATH lists the groups")


def objects_for(manifest: Manifest, patterns: Sequence[str]) -> Iterable[StoredObject]:
    """The objects of the groups that match any of ``patterns``, bases included; all without patterns."""
    if not patterns:
        return manifest.objects
    table = {stored.oid: stored for stored in manifest.objects}
    pending = [
        slot.oid
        for entry in manifest.entries
        if any(fnmatchcase(group.name, pattern) for group in entry.groups for pattern in patterns)
        for slot in (entry.where if isinstance(entry.where, tuple) else ())
    ]
    reached: set[Oid] = set()
    while pending:
        oid = pending.pop()
        if oid not in reached:
            reached.add(oid)
            pending.extend(table[oid].bases)
    return [table[oid] for oid in sorted(reached)]
