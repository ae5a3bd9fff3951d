"""``git theta diff-driver``: what ``git diff`` runs for a tracked checkpoint, with the arguments it passes."""

from __future__ import annotations

import click

from git_theta.cli.sides import side
from git_theta.cli.workspace import open_workspace
from git_theta.diff import compare, report


@click.command("diff-driver", context_settings={"ignore_unknown_options": True})
@click.argument("path")
@click.argument("sides", nargs=-1)
def command(path: str, sides: tuple[str, ...]) -> None:
    """Report which parameter groups differ between two versions of PATH.

    Git runs this by itself (diff.theta.command) with: path old-file old-blob old-mode new-file new-blob
    new-mode, and for a renamed file the new path and a header.

    Example: git diff HEAD~1 -- model.safetensors
    """
    if len(sides) < 6:
        # An unmerged path: Git passes the path alone.
        click.echo(f"* Unmerged path {path}")
        return
    old_file, old_blob, _, new_file, new_blob, _, *renamed = sides
    workspace = open_workspace()
    try:
        old, new = side(workspace, old_file, old_blob), side(workspace, new_file, new_blob)
    finally:
        workspace.close()
    for line in report(compare(old, new), path, renamed[0] if renamed else path):
        click.echo(line)
