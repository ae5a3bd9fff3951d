"""``git theta stash show``: what a stash changed in checkpoints."""

from __future__ import annotations

import click

from git_theta.cli.handover import hand_over


@click.command("stash", context_settings={"ignore_unknown_options": True})
@click.argument("action", type=click.Choice(["show"]), metavar="show")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[GIT-STASH-SHOW-OPTIONS] [STASH]")
def command(action: str, arguments: tuple[str, ...]) -> int:
    """Show what a stash changed in checkpoints: `git stash show -p` with reports.

    Options of `git stash show` may take the place of -p. Everything else about stashes is plain Git's.

    Example: git theta stash show stash@{1}
    """
    chosen = any(argument.startswith("-") for argument in arguments)
    return hand_over("stash", action, "--ext-diff", *([] if chosen else ["-p"]), *arguments)
