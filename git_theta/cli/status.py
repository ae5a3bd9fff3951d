"""``git theta status``: tracked checkpoints that need attention, and the next command to type."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import click

from git_theta.cli import drivers
from git_theta.cli.conflicts import Conflict, conflicts
from git_theta.cli.hooks import silent_push
from git_theta.cli.text import human, plural, printable, typed
from git_theta.cli.tracked import CONVERTING, NO_TEXT, State, Tracked, attributes, filtered, matching, state, tracked
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.gitio.process import ask_git
from git_theta.gitio.remotes import default_remote, remembered
from git_theta.lfs import new_objects
from git_theta.lfs.keep import pushed_tips

_CHANGES = {"A": "new", "D": "deleted", "MD": "changed, then deleted", "AD": "new, then deleted"}
"""Git's letters in words; whatever else there is has changed."""


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One tracked checkpoint. ``git`` is Git's own two letters, empty when there is nothing to commit."""

    path: str
    worktree: str
    git: str
    groups: int
    bytes: int
    missing_objects: list[str]
    missing_bytes: int
    unfiltered: bool


@dataclass(frozen=True, slots=True)
class Unpushed:
    """Objects that commits name which the remote's branches, as Git last heard of them, do not reach."""

    remote: str
    objects: int
    bytes: int


@click.command("status")
@click.argument("pathspec", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(pathspec: tuple[str, ...], as_json: bool) -> None:
    """Show tracked checkpoints: changes, placeholders, missing objects, what is not pushed, and what to type next.

    Without a PATHSPEC, also counts the objects of all branches and tags that are not on the remote, by what
    Git knows of it without asking.

    Example: git theta status 'models/*'
    """
    workspace = open_workspace()
    try:
        changes = _changes(workspace, pathspec)
        whole = (":/",) if workspace.repository.worktree else ()
        unmerged = conflicts(workspace, pathspec or whole)
        items = tracked(workspace, whole) if not pathspec or unmerged else matching(workspace, pathspec)
        files = [_status(workspace, item, changes.get(item.path, "")) for item in items]
        text = attributes(workspace, [item.path for item in items], "text")
        converted = [path for path, value in text.items() if value in CONVERTING]
        news = sorted(filtered(workspace, [path for path, letters in changes.items() if letters == "??"]))
        configured = "filter.theta.process" in drivers.configured()
        unpushed = None if pathspec else _unpushed(workspace)
        silent = silent_push(workspace.repository)
    finally:
        workspace.close()
    if as_json:
        rows = [asdict(file) for file in files]
        not_pushed = asdict(unpushed) if unpushed else None
        document = {
            "files": rows,
            "conflicts": [conflict.path for conflict in unmerged],
            "not_added": news,
            "not_pushed": not_pushed,
            "converted": converted,
            "push_sends_objects": silent is None,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        here = partial(_from_here, workspace)
        files = [replace(file, path=here(file.path)) for file in files]
        click.echo(
            _text(
                files,
                unmerged,
                [here(path) for path in news],
                [here(path) for path in converted],
                unpushed,
                configured,
                printable(silent) if silent and files and workspace.repository.worktree else None,
            )
        )


def _from_here(workspace: Workspace, path: str) -> str:
    """A path from the worktree's root as one types it in the current folder."""
    return Path(os.path.relpath(workspace.repository.root / path)).as_posix()


def _changes(workspace: Workspace, pathspec: tuple[str, ...]) -> dict[str, str]:
    """Git's two status letters by path; a rename counts for its new path."""
    if workspace.repository.worktree is None:
        return {}
    answer = ask_git("status", "--porcelain", "-z", "--untracked-files=all", "--", *pathspec)
    fields = iter(os.fsdecode(answer).split("\0")[:-1])
    found = {}
    for field in fields:
        found[field[3:]] = field[:2].strip()
        if "R" in field[:2] or "C" in field[:2]:
            next(fields)
    return found


def _unpushed(workspace: Workspace) -> Unpushed | None:
    """What the remote that plain push takes does not have yet; None when there is nothing, or nothing is known."""
    root = workspace.repository.root
    remote = default_remote(root)
    if remote is None or not remembered(root, remote):
        return None
    include = ["--branches", "--tags", *(["HEAD"] if workspace.blobs.exists("HEAD") else [])]
    new = new_objects(root, workspace.blobs, include, [f"^{oid}" for oid in pushed_tips(root, remote)])
    return Unpushed(remote, len(new), sum(need.stored.size for need in new.values())) if new else None


def _status(workspace: Workspace, item: Tracked, letters: str) -> FileStatus:
    if item.manifest is None:
        return FileStatus(item.path, state(workspace, item).value, letters, 0, 0, [], 0, unfiltered=True)
    missing = [stored for stored in item.manifest.objects if not workspace.store.has(stored.oid, stored.size)]
    return FileStatus(
        path=item.path,
        worktree=state(workspace, item).value,
        git=letters,
        groups=sum(len(entry.groups) for entry in item.manifest.entries),
        bytes=item.manifest.size,
        missing_objects=[stored.oid for stored in missing],
        missing_bytes=sum(stored.size for stored in missing),
        unfiltered=False,
    )


def _text(
    files: list[FileStatus],
    unmerged: list[Conflict],
    news: list[str],
    converted: list[str],
    unpushed: Unpushed | None,
    configured: bool,
    silent: str | None,
) -> str:
    if not files and not unmerged and not news and not unpushed:
        return "nothing is tracked here yet; to start: git theta track '*.safetensors'"
    lines = [
        *(f"  {printable(conflict.here)}: {conflict.state}, not resolved yet" for conflict in unmerged),
        *(_line(file) for file in files),
        *(f"  {printable(path)}: not added yet" for path in news),
    ]
    if converted:
        more = f" and {len(converted) - 1:,} more" if len(converted) > 1 else ""
        lines.append(f"  {printable(converted[0])}{more}: another line of attributes takes -text back: {NO_TEXT}")
    if unpushed:
        count = f"{plural(unpushed.objects, 'object')} ({human(unpushed.bytes)})"
        lines.append(f"{count} of local commits not on {printable(unpushed.remote)}")
    header = f"{plural(len(files) + len(unmerged), 'tracked checkpoint')}{':' if lines else ''}"
    return "\n".join([header, *lines, *_next(files, unmerged, news, unpushed, configured, silent)])


def _line(file: FileStatus) -> str:
    if file.unfiltered:
        return f"  {printable(file.path)}: stored as it is, without the filter"
    notes = [f"{plural(file.groups, 'group')}, {human(file.bytes)}"]
    if file.git:
        notes.append(_CHANGES.get(file.git, "changed"))
    if file.worktree == State.PLACEHOLDER.value:
        notes.append("placeholder")
    if file.worktree == State.SPARSE.value:
        notes.append(file.worktree)
    if file.missing_objects:
        notes.append(f"{plural(len(file.missing_objects), 'object')} missing ({human(file.missing_bytes)})")
    return f"  {printable(file.path)}: {', '.join(notes)}"


def _next(
    files: list[FileStatus],
    unmerged: list[Conflict],
    news: list[str],
    unpushed: Unpushed | None,
    configured: bool,
    silent: str | None,
) -> list[str]:
    """What to type next, most urgent first; at most one line for each kind of trouble."""
    if not configured:
        return ["", "the filters are not configured, so Git would store checkpoints whole: git theta install --local"]
    advice = []
    for conflict in [one for one in unmerged if one.mergeable][:1]:
        name = typed(conflict.here)
        advice.append(f"to decide what both sides changed, and keep what one of them did: {conflict.way_out}")
        advice.append(
            f"to drop all that one side did: git checkout --ours -- {name}, or --theirs; then: git add -- {name}"
        )
    advice += [f"to decide: {conflict.way_out}" for conflict in unmerged if not conflict.mergeable][:1]
    if any(file.missing_objects for file in files):
        command = "pull" if any(file.worktree != State.NONE.value for file in files) else "fetch"
        advice.append(f"objects are missing: git theta {command} brings them; git theta fsck names the groups")
    if any(file.worktree == State.PLACEHOLDER.value and not file.missing_objects for file in files):
        advice.append("to write the checkpoints that placeholders stand for: git theta checkout")
    gone = " ".join(typed(file.path) for file in files if file.git.endswith("D"))
    if gone:
        advice.append(
            f"to get back what was deleted: git theta checkout {gone}; to record that it is gone: git rm {gone}"
        )
    plain = [file.path for file in files if file.unfiltered]
    if plain:
        advice.append(f"to bring them under git-theta: git add --renormalize {typed(plain[0])}")
    changed = [file.path for file in files if file.git and file.git[-1] == "M" and not file.unfiltered]
    if changed or news:
        advice.append(f"to stage what changed: git add {' '.join(map(typed, [*changed, *news][:5]))}")
    if not advice and any(file.git for file in files):
        advice.append("to record it: git commit")
    if silent:
        advice.append(silent)
    elif unpushed:
        advice.append(
            "to send the objects with their commits: git push; without them, or after git push --no-verify: "
            f"git theta push {typed(unpushed.remote)}"
        )
    return ["", *advice] if advice else ["", "nothing to do"]
