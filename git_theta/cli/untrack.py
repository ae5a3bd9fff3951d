"""``git theta untrack``: stop handing the files of a pattern to git-theta."""

from __future__ import annotations

import os

import click

from git_theta.cli.output import emit_json
from git_theta.cli.patterns import NAME, Folder, as_pattern, current_folder
from git_theta.cli.text import plural
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.attributes import filter_of, tracked_patterns, untrack
from git_theta.gitio.files import attribute_files


class NotTracked(ThetaError):
    """The pattern is not in this folder's attributes."""


@click.command("untrack")
@click.argument("patterns", nargs=-1, required=True)
@click.option("--filename", is_flag=True, help="Take each PATTERN as the name of one file, wildcards included.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(patterns: tuple[str, ...], filename: bool, dry_run: bool, as_json: bool) -> int:
    """Stop versioning the files that match PATTERN by parameter group.

    Takes our attributes out of the .gitattributes file of the current folder; commits keep what they have. The
    next add stores the files whole in Git.

    Example: git theta untrack '*.safetensors'
    """
    folder = current_folder()
    before = text = folder.text()
    removed = [_tracked_pattern(folder, before, typed, filename) for typed in patterns]
    cached = folder.files("--cached")
    files = [path for pattern in removed for path in folder.matches(pattern, cached)]
    for pattern in removed:
        text = untrack(text, pattern)
    if not dry_run:
        folder.write(text)
    left = {path for path, name in folder.filters(files).items() if name == "theta"} if not dry_run else set()
    files = sorted(set(files) - left)
    todo = [f"git add {NAME}"]
    if files:
        todo.append("git add --renormalize .")
    if as_json:
        emit_json(
            {
                "file": folder.from_root(NAME),
                "patterns": [os.fsdecode(pattern) for pattern in removed],
                "renormalize": files,
                "next": todo,
                "dry_run": dry_run,
            }
        )
        return Exit.OK
    for pattern in removed:
        would = "would be " if dry_run else ""
        click.echo(os.fsencode(f"{os.fsdecode(pattern)}: {would}untracked in {folder.from_root(NAME)}"))
    if not dry_run:
        click.echo("next: " + "\n      ".join(todo))
        if files:
            click.echo(f"      (the second stores {plural(len(files), 'checkpoint')} whole in Git)")
    return Exit.OK


def _tracked_pattern(folder: Folder, text: bytes, typed: str, is_filename: bool) -> bytes:
    """The pattern as it stands in the file, be it typed as a pattern or as a path; raises :class:`NotTracked`."""
    for pattern in (os.fsencode(typed), as_pattern(folder, typed, is_filename)):
        if filter_of(text, pattern) == b"theta":
            return pattern
    places = [
        name
        for name in attribute_files(folder.root)
        if os.fsencode(typed) in tracked_patterns((folder.root / name).read_bytes())
    ]
    raise NotTracked(
        f"{typed} is not tracked in {folder.from_root(NAME)}",
        hint=f"it is in {', '.join(places)}; run this in that folder" if places else "to list: git theta track",
    )
