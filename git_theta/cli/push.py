"""``git theta push``: every object that refs name, onto a remote."""

from __future__ import annotations

import click

from git_theta.cli.output import emit_json
from git_theta.cli.sending import announce, send, told
from git_theta.cli.workspace import open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.remotes import default_remote
from git_theta.lfs import fetch_promised, named_objects, push_targets


class NoRemote(ThetaError):
    """No remote was given and none is configured."""

    exit_code = Exit.USAGE


@click.command("push")
@click.argument("remote", required=False)
@click.argument("ref", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Objects of all branches and tags.")
@click.option("--dry-run", is_flag=True, help="Say what the refs name and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(remote: str | None, ref: tuple[str, ...], everything: bool, dry_run: bool, as_json: bool) -> None:
    """Send the objects that REF (default: HEAD; in a bare repository all refs) and its history name to REMOTE.

    Plain git push does this by itself for what it pushes. Use this after git push --no-verify, from a bare or
    mirror clone, or to fill a second remote. What the remote has is not sent again; where it is a folder, what is
    damaged there is replaced. Git's own refs are not pushed.

    Example: git theta push backup --all
    """
    workspace = open_workspace()
    try:
        root = workspace.repository.root
        name = remote or default_remote(root)
        if name is None:
            raise NoRemote("there is no remote to push to", hint="git remote add origin URL, or: git theta push URL")
        targets = push_targets(root, name)
        whole = everything or (not ref and workspace.repository.worktree is None)
        revisions = ["--all"] if whole else list(ref or ("HEAD",))
        fetch_promised(root, revisions, name)
        needs = named_objects(root, workspace.blobs, revisions)
        for target in () if dry_run else targets:
            if send(workspace, target, needs, thorough=True):
                announce(workspace, target, needs)
    finally:
        workspace.close()
    if as_json:
        size = sum(need.stored.size for need in needs.values())
        urls = [target.url for target in targets]
        emit_json({"remote": name, "url": urls[0], "urls": urls, "objects": sorted(needs), "bytes": size})
    else:
        click.echo(f"{'would make sure of' if dry_run else 'made sure of'} {told(needs, targets[0])}")
