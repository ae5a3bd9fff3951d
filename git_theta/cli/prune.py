"""``git theta prune``: objects that nothing here needs any more, out of the local store.

What is needed is asked of every repository that uses the store, before anything goes; what a remote is trusted to
have is asked of it on request. What always holds: an object named by anything that is not on a remote stays, and
so does one that a concurrent command begins to use.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from git_theta.cli.output import emit_json
from git_theta.cli.sending import terminal
from git_theta.cli.text import human, plural
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import ThetaError
from git_theta.lfs import end_of, find_remote, named_objects
from git_theta.lfs.keep import REFLOG, Place, needed, pushed, pushed_tips
from git_theta.lfs.remotes import preferred_remotes
from git_theta.model import Oid
from git_theta.store.disk import DAY
from git_theta.store.registry import entry, owner, registered
from git_theta.store.removal import Leftover, discard, leftovers, remove, restore_interrupted

YOUNG, LACKED = "young", "not on the remote after all"


class CannotPrune(ThetaError):
    """What a repository needs from the store cannot be known, so nothing may go."""


@dataclass(slots=True)
class Report:
    """What went or would go, and what stays by its first reason; sizes in bytes."""

    removed: dict[Oid, int] = field(default_factory=dict)
    kept: dict[str, dict[Oid, int]] = field(default_factory=dict)
    leftovers: list[Leftover] = field(default_factory=list)


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Say what would go and remove nothing.")
@click.option("--verify-remote", is_flag=True, help="First ask the remotes whether they have what pushed commits name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dry_run: bool, verify_remote: bool, as_json: bool) -> None:
    """Remove objects from the local store that nothing here needs and that a fetch would bring back.

    Kept is what any worktree has checked out or staged, what is stashed or in a reflog, what is on no remote,
    what any of these is based on, and what was stored or used within theta.pruneAge days (14). With a shared store,
    that is so for every repository that uses it.

    Example: git theta prune --dry-run --verify-remote
    """
    workspace = open_workspace()
    try:
        now = time.time()
        before = now - workspace.settings.prune_age * DAY
        report = _decide(workspace, now, before)
        if verify_remote and report.removed:
            _verify(workspace, report)
        if not dry_run:
            _carry_out(workspace, report, before)
    finally:
        workspace.close()
    if as_json:
        _emit(report, dry_run)
    else:
        click.echo(_text(report, dry_run, workspace.settings.prune_age))


def _decide(workspace: Workspace, now: float, before: float) -> Report:
    """Each object's fate, by what is needed and by age."""
    store = workspace.store
    report = Report(leftovers=list(leftovers(store, now - DAY, before)))
    restore_interrupted(store)
    # Listed first: what is stored from here on is not looked at.
    here = {oid: (size, store.youth(oid)) for oid, size in store.oids()}
    needs = _needed_by_all(workspace) if here else {}
    for oid, (size, youth) in here.items():
        reason = next((reason for reason, oids in needs.items() if oid in oids), YOUNG if youth >= before else None)
        (report.kept.setdefault(reason, {}) if reason else report.removed)[oid] = size
    return report


def _needed_by_all(workspace: Workspace) -> dict[str, set[Oid]]:
    """What every repository that uses the store needs, by reason; raises :class:`CannotPrune`."""
    found: dict[str, set[Oid]] = {}
    for place in _places(workspace):
        try:
            needs = needed(place)
        except (ThetaError, OSError) as error:
            if not place.elsewhere:
                raise
            raise CannotPrune(
                f"{place.common_dir} keeps objects in this store and cannot be read: {error}",
                hint="nothing was removed. If it is gone for good: "
                f"rm {shlex.quote(str(entry(workspace.store, place.common_dir)))}",
            ) from None
        for reason, oids in needs.items():
            found.setdefault(reason, set()).update(oids)
    return found


def _places(workspace: Workspace) -> list[Place]:
    """This repository, then the others that use its store."""
    repository, store = workspace.repository, workspace.store
    others = [*registered(store), *filter(None, [owner(store)])]
    mine = [path for path in others if _same(path, repository.common_dir)]
    if workspace.settings.shares_store and not mine:
        raise CannotPrune(
            f"{store.root} may be shared, and this repository is not registered there",
            hint="nothing was removed. To register it: git theta track, with any pattern that is tracked already; "
            "do so in every repository that uses the store",
        )
    return [
        Place.of(repository),
        *(Place(path, path, elsewhere=True) for path in dict.fromkeys(others) if path not in mine),
    ]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _verify(workspace: Workspace, report: Report) -> None:
    """Keep what a pushed commit names and no remote really has; raises when a remote cannot be asked."""
    root = workspace.repository.root
    there: set[Oid] = set()
    named: set[Oid] = set()
    for name in preferred_remotes(root):
        needs = named_objects(root, workspace.blobs, pushed_tips(root, name))
        asked = [need.stored for oid, need in needs.items() if oid in report.removed and oid not in there]
        if asked:
            end = end_of(workspace.repository, find_remote(root, name), terminal())
            named.update(stored.oid for stored in asked)
            there |= named - end.lacks(asked, thorough=True).keys()
    for place in _places(workspace)[1:]:  # whose remotes are not ours to ask
        named |= pushed(place)
    for oid in (named - there) & report.removed.keys():
        report.kept.setdefault(LACKED, {})[oid] = report.removed.pop(oid)


def _carry_out(workspace: Workspace, report: Report, before: float) -> None:
    """Remove what is to go, unless it came into use meanwhile, and what interrupted commands left."""
    for oid in list(report.removed):
        if not remove(workspace.store, oid, before):
            report.kept.setdefault(YOUNG, {})[oid] = report.removed.pop(oid)
    for leftover in report.leftovers:
        discard(leftover)
    workspace.catalogue.forget(report.removed.keys())


def _text(report: Report, dry_run: bool, days: int) -> str:
    would = "would remove" if dry_run else "removed"
    lines = [f"{would} {_count(report.removed)}"]
    if report.leftovers:
        size = sum(leftover.size for leftover in report.leftovers)
        lines.append(f"{would} {plural(len(report.leftovers), 'leftover')} of interrupted commands ({human(size)})")
    names = {YOUNG: f"younger than {plural(days, 'day')}"}
    lines += [f"kept {_count(objects)} {names.get(reason, reason)}" for reason, objects in report.kept.items()]
    if report.kept.get(REFLOG):
        lines.append("to let go of what only reflogs reach: git reflog expire --expire=30.days.ago --all")
    if report.kept.get(LACKED):
        lines.append("to send the remote what it lacks: git theta push --all")
    return "\n".join(lines)


def _count(objects: Mapping[Oid, int]) -> str:
    return f"{plural(len(objects), 'object')} ({human(sum(objects.values()))})"


def _emit(report: Report, dry_run: bool) -> None:
    kept = {
        reason: {"objects": len(objects), "bytes": sum(objects.values())} for reason, objects in report.kept.items()
    }
    emit_json(
        {
            "dry_run": dry_run,
            "removed": sorted(report.removed),
            "bytes": sum(report.removed.values()),
            "kept": kept,
            "leftovers": [str(leftover.path) for leftover in report.leftovers],
        }
    )
