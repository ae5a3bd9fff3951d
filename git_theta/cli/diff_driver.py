"""``git theta diff-driver``: what ``git diff`` runs for a tracked checkpoint, with the arguments it passes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click

from git_theta.cli.changed import LINK, link_notes, stored_otherwise
from git_theta.cli.dashes import TakesWords
from git_theta.cli.output import drop_output
from git_theta.cli.reporting import Wish, bare, make_report, show
from git_theta.cli.sides import of_file
from git_theta.cli.text import printable
from git_theta.cli.workspace import open_workspace
from git_theta.diff import Report, compare
from git_theta.errors import Exit
from git_theta.manifest import DamagedManifest, ManifestFromNewerVersion

_STORED_ANEW = (
    "the same content; Git would store another manifest for it, as after objects were lost or settings changed"
)


@click.command("diff-driver", cls=TakesWords)
@click.argument("path")
@click.argument("sides", nargs=-1)
def command(path: str, sides: tuple[str, ...]) -> int:
    """Report how the parameter groups of two versions of PATH differ.

    Git runs this by itself (diff.theta.command) with: path old-file old-blob old-mode new-file new-blob
    new-mode, and for a renamed file the new path and a header. A program of your own (GIT_EXTERNAL_DIFF, git
    difftool) is run instead, with the checkpoints themselves.

    Example: git diff HEAD~1 -- model.safetensors
    """
    if program := os.environ.get("GIT_EXTERNAL_DIFF"):
        return _run(program, path, *sides)
    if len(sides) < 6:
        # An unmerged path: Git passes the path alone.
        click.echo(f"* Unmerged path {printable(path)}")
        return Exit.OK
    old_file, old_blob, old_mode, new_file, new_blob, new_mode, *renamed = sides
    paths = path if old_file != os.devnull else None, (renamed[0] if renamed else path)
    notes = [*(renamed[1].splitlines() if len(renamed) > 1 else []), *_mode_change(old_mode, new_mode)]
    if links := _links_noted((old_file, old_mode), (new_file, new_mode)):
        shown = (paths[0], paths[1] if new_file != os.devnull else None)
        click.echo("\n".join(bare(Report(*shown, compare(None, None), notes=(*notes, *links)))))
        return Exit.OK
    workspace = open_workspace()
    try:
        old, new = of_file(workspace, old_file, old_blob), of_file(workspace, new_file, new_blob)
        shown = (paths[0], paths[1] if new.summary else None)
        report = make_report(shown, (old, new), Wish(), workspace.settings.threads, _without_index(notes))
        if report.comparison.equal and not report.notes:
            report = replace(report, notes=(stored_otherwise(old, new) or _STORED_ANEW,))
        show([report], Wish(), workspace)
        sys.stdout.flush()
        old.close()
        new.close()
    except (DamagedManifest, ManifestFromNewerVersion) as error:
        # One in history must not stop the git diff or git log that passes by.
        click.echo(f"diff --theta a/{printable(path)} b/{printable(path)}\n({error})")
    except BrokenPipeError:
        drop_output()  # a pager was left: Git finds that out by itself, and would call anything but 0 a failure
    finally:
        workspace.close()
    return Exit.OK


def _run(program: str, *arguments: str) -> int:
    """Run what the user set, as Git would: an attribute's driver, ours, comes before the variable, so Git did not."""
    return subprocess.run(["sh", "-c", f'{program} "$@"', program, *arguments], check=False).returncode


def _links_noted(old: tuple[str, str], new: tuple[str, str]) -> list[str]:
    """What to say where a side, a file with a mode, is a symbolic link: Git passes a file that holds its target."""
    sides = (os.fsdecode(Path(file).read_bytes()) if mode == LINK else None for file, mode in (old, new))
    return link_notes(*sides)


def _mode_change(old: str, new: str) -> list[str]:
    """Git's own words; ``.`` is the mode of the side that is absent."""
    if "." in (old, new):
        return [f"new file mode {new}" if old == "." else f"deleted file mode {old}"]
    return [f"old mode {old}", f"new mode {new}"] if old != new else []


def _without_index(notes: list[str]) -> list[str]:
    """Git's header for a rename less the line of blob ids, which say nothing to people."""
    return [note for note in dict.fromkeys(notes) if not note.startswith("index ")]
