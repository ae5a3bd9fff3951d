"""Objects from remotes, for ``git theta fetch`` and ``pull``: what is asked for, and what of it is not here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from git_theta.cli.output import warn
from git_theta.cli.progress import Progress
from git_theta.cli.text import plural
from git_theta.cli.workspace import Workspace
from git_theta.errors import ThetaError
from git_theta.globs import matches
from git_theta.model import Manifest, Oid, StoredObject


class NoSuchGroup(ThetaError):
    """No checkpoint that was asked for has a parameter group of such a name."""


def require_groups(manifests: Sequence[Manifest], patterns: Sequence[str]) -> None:
    """Raise :class:`NoSuchGroup` for the first of ``patterns`` that no group's name matches."""
    names = {group.name for manifest in manifests for entry in manifest.entries for group in entry.groups}
    if manifests:
        require_names(names, patterns)


def require_names(names: Collection[str], patterns: Sequence[str]) -> None:
    """Raise :class:`NoSuchGroup` for the first of ``patterns`` that none of ``names`` matches."""
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            raise NoSuchGroup(f"no parameter group is called {pattern!r}", hint="git theta show PATH lists the groups")


def objects_for(manifest: Manifest, patterns: Sequence[str]) -> Iterable[StoredObject]:
    """The objects of the groups that match any of ``patterns``, bases included; all without patterns."""
    if not patterns:
        return manifest.objects
    table = {stored.oid: stored for stored in manifest.objects}
    pending = [
        slot.oid
        for entry in manifest.entries
        if any(matches(group.name, pattern) for group in entry.groups for pattern in patterns)
        for slot in (entry.where if isinstance(entry.where, tuple) else ())
    ]
    reached: set[Oid] = set()
    while pending:
        oid = pending.pop()
        if oid not in reached:
            reached.add(oid)
            pending.extend(table[oid].bases)
    return [table[oid] for oid in sorted(reached)]


def lacking(workspace: Workspace, objects: Iterable[StoredObject]) -> list[StoredObject]:
    """Those of ``objects`` that are not here; one that turns out damaged is set aside, and so is not here.

    Every byte is looked at, but for objects the catalogue vouches for: it stops when a file is touched or cannot
    be read.
    """
    store, catalogue = workspace.store, workspace.catalogue
    wanted = list(objects)
    doubtful = [o for o in wanted if store.has(o.oid, o.size) and not catalogue.vouches_for(o.oid)]
    damaged = []
    size = sum(stored.size for stored in doubtful)
    with Progress("verify", size) as progress, ThreadPoolExecutor(workspace.settings.threads) as pool:
        for stored, whole in zip(doubtful, pool.map(lambda o: store.is_whole(o.oid), doubtful), strict=True):
            progress.advance(stored.size)
            if not whole:
                damaged.append(stored.oid)
                store.quarantine(stored.oid)
    catalogue.vouch(stored.oid for stored in doubtful)
    catalogue.forget(damaged)
    if damaged:
        warn(f"moved {plural(len(damaged), 'damaged object')} to theta/corrupt/")
    return [stored for stored in wanted if not store.has(stored.oid, stored.size)]
