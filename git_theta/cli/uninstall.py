"""``git theta uninstall``: take back what ``install`` wrote."""

from __future__ import annotations

import click

from git_theta.cli import drivers
from git_theta.cli.hooks import drop_hooks
from git_theta.cli.output import emit_json, warn
from git_theta.cli.text import plural
from git_theta.errors import Exit
from git_theta.gitio import NotARepository, find_repository
from git_theta.gitio.attributes import check_attributes
from git_theta.gitio.files import list_files


@click.command("uninstall")
@drivers.scope_options
@click.option("--json", "as_json", is_flag=True, help="Report as JSON: scope, file, removed keys, foreign keys left.")
def command(scope: str, as_json: bool) -> int:
    """Take back what install wrote into one scope of Git's configuration.

    Attributes and stored objects stay, so `git theta install` brings everything back.

    Example: git theta uninstall --local
    """
    drivers.check_scope(scope)
    file = drivers.file_of(scope)
    removed, strangers = drivers.take_back(scope)
    if as_json:
        emit_json({"scope": scope, "file": file, "removed": removed, "foreign": strangers})
    elif removed:
        click.echo(f"removed the theta drivers from {file} ({scope})")
    else:
        click.echo(f"nothing of git-theta in {scope} configuration")
    for key, value in strangers.items():
        warn(f"{key} is {value!r}, which another program wrote; it stays")
    _leave_repository()
    return Exit.OK


def _leave_repository() -> None:
    """When no filter is left here: take our part out of the hooks, and say what becomes of tracked files."""
    if "filter.theta.process" in drivers.configured():
        return
    try:
        repository = find_repository()
    except NotARepository:
        return
    drop_hooks(repository)
    root = repository.worktree
    if root is None:
        return
    answers = check_attributes(list_files(root, "--cached"), ["filter"], root)
    tracked = sum(found["filter"] == "theta" for found in answers.values())
    if tracked:
        warn(
            f"{plural(tracked, 'tracked checkpoint')} in this repository: "
            "Git now checks out manifests and would add checkpoints whole",
            "to go on with git-theta: git theta install --local\nto stop tracking: git theta untrack PATTERN",
        )
