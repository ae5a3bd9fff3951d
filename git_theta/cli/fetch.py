"""``git theta fetch``: objects of commits from the remotes into the local store; no file of the worktree changes."""

from __future__ import annotations

from collections.abc import Iterable

import click

from git_theta.cli.hooks import ensure_hooks
from git_theta.cli.output import emit_json, warn
from git_theta.cli.receiving import lacking, objects_for, require_groups
from git_theta.cli.sending import terminal
from git_theta.cli.text import human, plural
from git_theta.cli.tracked import tracked
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.remotes import remote_names
from git_theta.lfs import Supply, find_remote, named_manifests
from git_theta.model import Manifest, Oid, StoredObject


class RemoteAsRevision(ThetaError):
    """The name of a remote stands where a commit is expected, as git fetch would have it."""

    exit_code = Exit.USAGE


@click.command("fetch")
@click.argument("rev", nargs=-1)
@click.option(
    "--all", "everything", is_flag=True, help="Objects of the whole history of all refs, and of what is staged."
)
@click.option("--group", "groups", multiple=True, metavar="GLOB", help="Only parameter groups of these names.")
@click.option("--remote", metavar="NAME", help="Ask only this remote.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(rev: tuple[str, ...], everything: bool, groups: tuple[str, ...], remote: str | None, as_json: bool) -> int:
    """Download the objects of REV (default: HEAD and the index) that are not here.

    A damaged object is moved to theta/corrupt/ and brought anew, so this repairs. The files stay as they are; git
    theta pull also completes them.

    Example: git theta fetch main v1.0 --group 'encoder.layer.0.*'
    """
    workspace = open_workspace()
    try:
        workspace.register()
        ensure_hooks(workspace.repository)  # in a bare clone no filter runs that would
        _check_words(workspace, rev)
        if remote is not None:
            find_remote(workspace.repository.root, remote)
        manifests = _manifests(workspace, rev, everything)
        if groups:
            manifests = list(manifests)
            require_groups(manifests, groups)
        wanted: dict[Oid, StoredObject] = {}
        for manifest in manifests:
            wanted.update((stored.oid, stored) for stored in objects_for(manifest, groups))
        absent = lacking(workspace, wanted.values())
        supply = Supply(workspace.repository, workspace.store, terminal=terminal())
        failures = supply.bring(absent, remote)
    finally:
        workspace.close()
    came = [stored for stored in absent if stored.oid not in failures]
    if as_json:
        emit_json({"wanted": len(wanted), "fetched": sorted(stored.oid for stored in came), "failed": failures})
    else:
        size = sum(stored.size for stored in came)
        click.echo(f"fetched {plural(len(came), 'object')} ({human(size)}); {len(wanted) - len(absent)} were here")
        for oid, reason in list(failures.items())[:5]:
            warn(f"object {oid} did not come: {reason}")
        if len(failures) > 5:
            warn(f"and {len(failures) - 5:,} more")
    return Exit.MISSING if failures else Exit.OK


def _check_words(workspace: Workspace, revisions: tuple[str, ...]) -> None:
    """Raise :class:`RemoteAsRevision` for the name of a remote that names no commit as well."""
    for name in set(revisions) & set(remote_names(workspace.repository.root)) if revisions else ():
        if not workspace.blobs.exists(f"{name}^{{tree}}"):
            others = [revision for revision in revisions if revision != name]
            raise RemoteAsRevision(
                f"{name} is a remote, expected a revision", hint=" ".join(["git theta fetch --remote", name, *others])
            )


def _manifests(workspace: Workspace, revisions: tuple[str, ...], everything: bool) -> Iterable[Manifest]:
    """What is asked for: of commits, every manifest, since a commit's own attributes may not be in force here."""
    if everything:
        revisions = ("--all", "--reflog", "--indexed-objects")  # of every worktree
    elif not revisions:
        if workspace.repository.worktree:
            yield from (item.manifest for item in tracked(workspace) if item.manifest)
        revisions = ("HEAD",) if workspace.blobs.exists("HEAD") else ()
    trees = revisions if everything else tuple(f"{revision}^{{tree}}" for revision in revisions)
    if trees:
        yield from (manifest for _, _, manifest in named_manifests(workspace.repository.root, workspace.blobs, trees))
