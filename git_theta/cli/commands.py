"""The table of commands and the click group over it: arguments enter, one command runs, its exit code leaves.

A command is a click command in a module of its own, imported when it is asked for and not before; ``--help``
reads the table only. A command returns an exit code, or None for success, and raises
:class:`~git_theta.errors.ThetaError` for everything it cannot do.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import cast

import click

from git_theta import __version__
from git_theta.errors import Exit


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command lives (``module:attribute``) and its line in the overview."""

    place: str
    summary: str


def _here(module: str, summary: str) -> Command:
    return Command(f"git_theta.cli.{module}:command", summary)


SECTIONS: dict[str, dict[str, Command]] = {
    "Set up": {
        "install": _here("install", "Tell Git about the theta filter, diff and merge drivers."),
        "uninstall": _here("uninstall", "Take back what install wrote."),
        "track": _here("track", "Version files that match a pattern, or list the tracked patterns."),
        "untrack": _here("untrack", "Stop versioning files that match a pattern."),
        "env": _here("env", "Show effective settings, where each comes from, and versions."),
        "demo": _here("demo", "Show the main job on a small model in a temporary repository."),
    },
    "Look": {
        "status": _here("status", "Show placeholders, missing objects, and the next command to type."),
        "ls-files": _here("ls_files", "List the checkpoints of a commit or the index."),
        "diff": _here("diff", "Show how checkpoints differ, group by group."),
        "log": _here("log", "Show history with reports, or the commits that changed certain groups."),
        "blame": _here("blame", "Show the commit that last changed each group."),
        "show": _here("show", "Show the parameter groups of one checkpoint, or a commit with reports."),
        "stash": _here("stash", "Show what a stash changed, with reports."),
    },
    "Work": {
        "checkout": _here("checkout", "Write checkpoints into the worktree, in constant memory."),
        "push": _here("push", "Send the objects that refs name to a remote."),
        "fetch": _here("fetch", "Bring objects of commits into the local store."),
        "pull": _here("pull", "Fetch what placeholders stand for, and complete them."),
        "merge": _here("merge", "Merge any number of branches in one commit, tried and tested first."),
        "resolve": _here("resolve", "Decide what a merge left open, and finish it."),
        "merge-file": _here("merge_file", "Merge three checkpoints on disk, outside of any repository."),
        "migrate": _here("migrate", "Rewrite history from Git LFS or whole files, or back."),
        "prune": _here("prune", "Remove objects from the local store that nothing here needs."),
        "fsck": _here("fsck", "Verify manifests and objects."),
    },
    "Called by Git": {
        "filter-process": _here("filter_process", "Clean and smudge for one Git command (long-running)."),
        "clean": _here("clean", "Turn one checkpoint on stdin into its manifest."),
        "smudge": _here("smudge", "Turn one manifest on stdin into its checkpoint."),
        "pre-push": _here("pre_push", "Send the objects that a git push needs, before it pushes."),
        "diff-driver": _here("diff_driver", "Say which parameter groups of one checkpoint changed."),
        "textconv": _here("textconv", "Turn one manifest into a text of one line per group."),
        "merge-driver": _here("merge_driver", "Merge one checkpoint changed on both sides."),
    },
}
"""Every command, in the order and under the headings of the overview."""

COMMANDS: dict[str, Command] = {name: command for section in SECTIONS.values() for name, command in section.items()}

EXIT_CODES: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILED: "could not do what was asked",
    Exit.USAGE: "wrong command line or setting",
    Exit.NO_REPOSITORY: "needs a Git repository and there is none, or Git refused",
    Exit.DAMAGED: "a manifest or an object is corrupt",
    Exit.MISSING: "an object is not on this machine",
    Exit.CHANGED: "a file changed while it was being read",
    Exit.INTERRUPTED: "interrupted",
}
"""What each exit code means to a person."""


class CommandTable(click.Group):
    """A click group that imports a command when it is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].place.split(":")
        return cast(click.Command, getattr(import_module(module), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest name where there is no such command."""
        near = get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and near and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview by section, then the exit codes."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, command.summary) for name, command in commands.items()], col_max=16)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in EXIT_CODES.items()])


@click.group(
    cls=CommandTable,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: git theta track '*.safetensors', then plain git add, commit, diff, checkout.",
)
@click.version_option(__version__, prog_name="git-theta", message="%(prog)s %(version)s")
def group() -> None:
    """Version machine-learning checkpoints with Git, parameter group by parameter group.

    `git theta COMMAND -h` explains a command.
    """


def run_command(arguments: list[str]) -> int:
    """Run one command line. Errors of usage are shown here, all others rise to :func:`git_theta.cli.main.main`."""
    try:
        code = group.main(arguments, prog_name="git theta", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return Exit.OK if code is None else int(code)
