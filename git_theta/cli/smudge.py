"""``git theta smudge``: one manifest on stdin, its checkpoint on stdout; the one-shot form of the smudge filter."""

from __future__ import annotations

import sys

import click

from git_theta.cli.filtering import smudge
from git_theta.cli.workspace import open_workspace


@click.command("smudge")
@click.argument("path", required=False, default="")
def command(path: str) -> None:
    """Print the checkpoint whose manifest comes on stdin; anything else passes through unchanged.

    Where an object is missing the manifest itself is printed, as a placeholder, with a message on stderr.

    Example: git cat-file blob HEAD:model.pt | git theta smudge model.pt > model.pt
    """
    workspace = open_workspace()
    try:
        workspace.register()
        for part in smudge(workspace, path, sys.stdin.buffer.read()).parts:
            sys.stdout.buffer.write(part)
    finally:
        workspace.close()
