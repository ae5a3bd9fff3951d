"""Commands whose arguments are Git's own: what follows ``--`` is handed on with it, since Git tells paths by it.

What Git itself passes to a command of ours is no option at all, whatever a file is called.
"""

from __future__ import annotations

import click


class KeepsDashes(click.Command):
    """``ctx.meta["paths"]`` has the arguments from ``--`` on, which click itself would run together with the others."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Cut the arguments at ``--`` before click drops it."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["paths"] = args[at:]
        return super().parse_args(ctx, args[:at])


class TakesWords(click.Command):
    """Every argument is one, also that of a file called ``-h.pt``; only ``-h`` or ``--help`` alone asks for help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Tell click that no option follows."""
        alone = args in (["-h"], ["--help"])
        return super().parse_args(ctx, args if alone or args[:1] == ["--"] else ["--", *args])
