"""``git theta filter-process``: the long-running filter that Git starts for add, checkout, status and the rest."""

from __future__ import annotations

import sys

import click

from git_theta.cli.serve import serve


@click.command("filter-process")
def command() -> int:
    """Clean and smudge for one Git command, over the long-running filter protocol.

    Git starts this by itself (filter.theta.process); there is nothing to type.

    Example: git -c filter.theta.process='git-theta filter-process' add model.pt
    """
    if sys.stdin.isatty():
        raise click.UsageError("filter-process speaks to Git through a pipe; to see what is tracked: git theta status")
    return serve()
