"""``git theta install``: tell Git about the filter, diff and merge drivers."""

from __future__ import annotations

import contextlib
import os
import shutil

import click

from git_theta.cli import drivers
from git_theta.cli.hooks import ensure_hooks
from git_theta.cli.output import emit_json, warn
from git_theta.errors import Exit
from git_theta.gitio import NotARepository, find_repository


@click.command("install")
@drivers.scope_options
@click.option("--force", is_flag=True, help="Replace a theta driver that another program configured.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON: scope, file, changed keys, overridden keys.")
def command(scope: str, force: bool, as_json: bool) -> int:
    """Tell Git about the theta filter, diff and merge drivers.

    Writes filter.theta.*, diff.theta.* and merge.theta.* into one scope of Git's configuration and, inside a
    repository, a marked block into its hooks, beside what is there. Doing it twice changes nothing. To take
    it back: git theta uninstall.

    Example: git theta install --local
    """
    drivers.check_scope(scope)
    changed = drivers.write(scope, force)
    with contextlib.suppress(NotARepository):
        ensure_hooks(find_repository())
    file = drivers.file_of(scope)
    in_force, mine = drivers.configured(), drivers.configured(f"--{scope}")
    overridden = sorted(key for key in (*drivers.COMMANDS, *drivers.VALUES) if in_force.get(key) != mine.get(key))
    if as_json:
        emit_json({"scope": scope, "file": file, "changed": changed, "overridden": overridden})
    elif changed:
        click.echo(f"wrote the theta filter, diff and merge drivers to {file} ({scope})")
    else:
        click.echo(f"already installed in {file} ({scope})")
    if overridden:
        warn(
            f"a stronger scope overrides {', '.join(overridden)}",
            "see where: git config --show-scope --show-origin --get-all " + overridden[0],
        )
    _explain_program(mine["filter.theta.process"])
    return Exit.OK


def _explain_program(process: str) -> None:
    """Say so when Git will not always find the program that was written."""
    active = os.environ.get("VIRTUAL_ENV")
    found = shutil.which("git-theta")
    if not process.startswith("git-theta "):
        program = drivers.program_of(process)
        warn(
            f"git-theta is not on PATH; Git will call it as {program}",
            f'for `git theta ...` to work: export PATH="{os.path.dirname(program)}:$PATH"',
        )
    elif active and found and os.path.realpath(found).startswith(os.path.realpath(active) + os.sep):
        warn(
            f"Git finds git-theta only while the virtual environment {active} is active",
            "for every shell: ./setup_hooks.sh, or pipx install git-theta",
        )
