"""``git theta textconv``: one checkpoint as text, one line per group, for ``git log -p`` and ``git show``."""

from __future__ import annotations

import click

from git_theta.cli.sides import side
from git_theta.diff import lines


@click.command("textconv")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def command(file: str) -> None:
    """Print one line per parameter group of FILE, a checkpoint or a manifest.

    Git runs this by itself (diff.theta.textconv).

    Example: git theta textconv model.safetensors
    """
    summary = side(None, file)
    if summary:
        click.echo("\n".join(lines(summary)))
