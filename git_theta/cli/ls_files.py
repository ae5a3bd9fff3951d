"""``git theta ls-files``: the checkpoints of the index or of a commit, one line each."""

from __future__ import annotations

import json

import click

from git_theta.cli.text import human, plural, printable
from git_theta.cli.tracked import State, state, tracked
from git_theta.cli.workspace import open_workspace
from git_theta.manifest import root

_MARKS = {State.FILE: "*", State.PLACEHOLDER: "-", State.ABSENT: " ", State.SPARSE: " ", State.NONE: " "}


@click.command("ls-files")
@click.argument("pathspec", nargs=-1)
@click.option("--rev", "revision", metavar="REV", help="List a commit instead of the index.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def command(pathspec: tuple[str, ...], revision: str | None, as_json: bool) -> None:
    """List tracked checkpoints: root digest, worktree mark, path, groups and size.

    The mark is * for a checkpoint in the worktree, - for a placeholder that holds its manifest.

    Example: git theta ls-files --rev HEAD~1 'models/*'
    """
    workspace = open_workspace()
    try:
        items = tracked(workspace, pathspec, revision)
        records = [
            {
                "path": item.path,
                "blob": item.blob,
                "format": item.manifest.format if item.manifest else None,
                "root": root(item.manifest) if item.manifest else None,
                "groups": sum(len(e.groups) for e in item.manifest.entries) if item.manifest else None,
                "bytes": item.manifest.size if item.manifest else None,
                "worktree": None if revision else state(workspace, item).value,
            }
            for item in items
        ]
    finally:
        workspace.close()
    if as_json:
        click.echo(json.dumps(records, indent=2))
        return
    for item, record in zip(items, records, strict=True):
        mark = " " if revision else _MARKS[State(record["worktree"])]
        if item.manifest is None:
            click.echo(f"{'-' * 12} {mark} {printable(item.path)} (stored without the filter: git add --renormalize)")
        else:
            size = f"{plural(int(str(record['groups'])), 'group')}, {human(item.manifest.size)}"
            click.echo(f"{str(record['root'])[:12]} {mark} {printable(item.path)} ({size})")
