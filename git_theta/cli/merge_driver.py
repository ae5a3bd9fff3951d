"""``git theta merge-driver``: what Git runs for a checkpoint that both sides changed.

Ours stays in place as a valid manifest and Git is told of the conflict, so all three stages stay in the index
and both ``git checkout --ours`` (or ``--theirs``) and ``git merge --abort`` work.
"""

from __future__ import annotations

import shlex

import click

from git_theta.cli.output import warn
from git_theta.errors import Exit


@click.command("merge-driver")
@click.argument("base")
@click.argument("ours")
@click.argument("theirs")
@click.argument("marker_size")
@click.argument("path")
def command(path: str, **_files: str) -> int:
    """Merge one checkpoint changed on both sides (Git calls this as merge.theta.driver).

    Example: git config merge.theta.driver 'git-theta merge-driver %O %A %B %L %P'
    """
    name = shlex.quote(path)
    warn(
        f"{path}: both sides changed this checkpoint; take one of the two",
        f"git checkout --ours -- {name}\ngit checkout --theirs -- {name}\nthen: git add -- {name}",
    )
    return Exit.FAILED
