"""``git theta textconv``: one checkpoint as text, one line per group, for ``git log -p`` and ``git show``."""

from __future__ import annotations

import click

from git_theta.cli.dashes import TakesWords
from git_theta.cli.sides import of_file
from git_theta.diff import textconv
from git_theta.manifest import DamagedManifest, ManifestFromNewerVersion


@click.command("textconv", cls=TakesWords)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def command(file: str) -> None:
    """Print one line per parameter group of FILE, a checkpoint or a manifest.

    Git runs this by itself (diff.theta.textconv).

    Example: git theta textconv model.safetensors
    """
    try:
        side = of_file(None, file)
    except (DamagedManifest, ManifestFromNewerVersion) as error:
        # One in history must not stop the git log that passes by.
        click.echo(f"({error})")
        return
    if side.summary:
        click.echo("\n".join(textconv(side.summary)))
    side.close()
