"""``git theta pull``: fetch what placeholders stand for, and complete them."""

from __future__ import annotations

import json

import click

from git_theta.cli.checkout import Outcome, report, write_all
from git_theta.cli.conflicts import conflicts
from git_theta.cli.output import warn
from git_theta.cli.receiving import lacking, objects_for, require_groups
from git_theta.cli.sending import terminal
from git_theta.cli.text import plural, printable
from git_theta.cli.tracked import State, Tracked, as_meant, matching, state, tracked
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit
from git_theta.gitio.process import NoWorktree
from git_theta.lfs import Supply, find_remote


@click.command("pull")
@click.argument("pathspec", nargs=-1)
@click.option("--group", "groups", multiple=True, metavar="GLOB", help="Download only parameter groups of these names.")
@click.option("--remote", metavar="NAME", help="Ask only this remote.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def command(pathspec: tuple[str, ...], groups: tuple[str, ...], remote: str | None, as_json: bool) -> int:
    """Download the objects of tracked checkpoints in one batch, then write those that are placeholders or absent.

    Completes a clone made offline, with GIT_THETA_SKIP_SMUDGE=1, or before git-theta was installed. With
    --group only a part comes; a file is written once all of its groups are here.

    Example: git theta pull 'models/*.safetensors'
    """
    workspace = open_workspace()
    try:
        if workspace.repository.worktree is None:
            raise NoWorktree(workspace.repository.git_dir)
        workspace.register()
        if remote is not None:
            find_remote(workspace.repository.root, remote)
        unmerged = conflicts(workspace, pathspec)
        named = matching(workspace, pathspec) if pathspec and not unmerged else tracked(workspace, pathspec)
        items = [as_meant(workspace, item) for item in named if _open(workspace, item)]
        require_groups([item.manifest for item in items if item.manifest], groups)
        wanted = {
            stored.oid: stored for item in items if item.manifest for stored in objects_for(item.manifest, groups)
        }
        supply = Supply(workspace.repository, workspace.store, terminal=terminal())
        failures = supply.bring(lacking(workspace, wanted.values()), remote)
        whole = [item for item in items if _complete(workspace, item)]
        outcomes = write_all(workspace, whole, force=False)
        partial = [_partial(workspace, item) for item in items if item not in whole]
    finally:
        workspace.close()
    if as_json:
        rows = [{"path": o.path, "result": o.result, "reason": o.reason} for o in (*outcomes, *partial)]
        click.echo(json.dumps(rows, indent=2))
    else:
        report(outcomes, whole)
        for outcome in partial:
            click.echo(f"{printable(outcome.path)}: {outcome.reason}")
        for reason in dict.fromkeys(failures.values()):
            first, *others = [oid for oid, why in failures.items() if why == reason]
            more = f" and {len(others):,} more" if others else ""
            warn(f"object {first}{more} did not come: {reason}")
    for conflict in unmerged:
        warn(f"{printable(conflict.here)}: {conflict.state}, not resolved yet: {conflict.way_out}")
    if failures:
        return Exit.MISSING
    return max((outcome.exit_code for outcome in outcomes), default=Exit.OK)


def _open(workspace: Workspace, item: Tracked) -> bool:
    """Whether the worktree lacks this checkpoint."""
    return item.manifest is not None and state(workspace, item) in (State.PLACEHOLDER, State.ABSENT)


def _complete(workspace: Workspace, item: Tracked) -> bool:
    return item.manifest is not None and all(workspace.store.has(o.oid, o.size) for o in item.manifest.objects)


def _partial(workspace: Workspace, item: Tracked) -> Outcome:
    """How much of a checkpoint is here."""
    entries = item.manifest.entries if item.manifest else ()
    table = {o.oid: o.size for o in item.manifest.objects} if item.manifest else {}
    here = sum(
        all(workspace.store.has(slot.oid, table[slot.oid]) for slot in entry.where)
        for entry in entries
        if isinstance(entry.where, tuple)
    ) + sum(not isinstance(entry.where, tuple) for entry in entries)
    return Outcome(item.path, "placeholder", f"{here:,} of {plural(len(entries), 'group')} here, still a placeholder")
